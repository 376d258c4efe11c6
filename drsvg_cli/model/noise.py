"""Where randomness comes from: a callable that gives standard normals shaped like its argument."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Noise = Callable[[Tensor], Tensor]


class SeededNoise:
    """Standard normals with one generator for each sample.

    Sample k depends on `seeds[k]` and on the calls made before, never on the other samples: it
    stays the same however many are drawn beside it. The numbers are drawn on the CPU, so a seed
    means the same on every device.
    """

    def __init__(self, seeds: Sequence[int], *, copies: int = 1) -> None:
        """Start one generator a seed; each draw serves `copies` neighbours in the batch."""
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._copies = copies

    def __call__(self, like: Tensor) -> Tensor:
        """Return normals in the shape `(S copies, ...)` of `like`, sample by sample."""
        draws = torch.stack([torch.randn(like.shape[1:], generator=g) for g in self._generators])
        draws = draws.repeat_interleave(self._copies, dim=0)
        # A GPU that computes need not be waited for.
        return draws.to(like.device, like.dtype, non_blocking=like.is_cuda)


class BatchNoise:
    """Standard normals from one generator for a whole training batch."""

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        """Start the generator, on the device where numbers are to be drawn."""
        self.generator = torch.Generator(device).manual_seed(seed)

    def __call__(self, like: Tensor) -> Tensor:
        """Return normals in the shape of `like`."""
        draws = torch.randn(like.shape, generator=self.generator, device=self.generator.device)
        return draws.to(like.device, like.dtype)
