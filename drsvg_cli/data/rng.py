"""Arrays of random numbers: the same for the same seed, with every version of NumPy."""

import math

import numpy as np
from numpy.typing import NDArray


class ArrayRandom:
    """Random numbers made from raw bits, the one stream that NumPy promises to keep."""

    def __init__(self, seed: str) -> None:
        self._bits = np.random.PCG64(list(seed.encode()))

    def uniform(self, *shape: int) -> NDArray[np.float64]:
        """Draw from [0, 1)."""
        draws = np.asarray(self._bits.random_raw(math.prod(shape)), np.uint64) >> np.uint64(11)
        return draws.astype(np.float64).reshape(shape) * 2.0**-53

    def integers(self, least: int, most: int, *shape: int) -> NDArray[np.int64]:
        """Draw whole numbers from `least` to `most`."""
        return least + (self.uniform(*shape) * (most + 1 - least)).astype(np.int64)
