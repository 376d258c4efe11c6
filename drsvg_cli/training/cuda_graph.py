"""A function of tensors recorded as CUDA graphs: a GPU repeats it without waiting for Python.

Steps of training are a thousand short operations. Launched one by one they take a GPU longer to be
told than to do.
"""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import torch
from torch import Tensor

Plan = TypeVar("Plan", bound=Hashable)
Inputs = tuple[Tensor | None, ...]
MOST = 32
"""Plans that are recorded: each takes memory on the GPU."""


class Recorded(Generic[Plan]):
    """A function of a plan and of tensors, which does the same operations for the same plan.

    The plan says as well which of the tensors there are.

    On a GPU the first call with a plan computes as usual, so that libraries choose their kernels
    and optimisers make their states; the second one is recorded, and from then on it is replayed.
    Elsewhere every call computes as usual, and there every call with a plan beyond `MOST`.
    """

    def __init__(
        self,
        function: Callable[[Plan, Inputs], Tensor],
        device: torch.device,
        generator: torch.Generator,
    ) -> None:
        """Record `function`, which draws from `generator` alone and waits for nothing."""
        self._function, self._device, self._generator = function, device, generator
        self._known: set[Plan] = set()
        self._graphs: dict[Plan, tuple[torch.cuda.CUDAGraph, Inputs, Tensor]] = {}
        self._records = device.type == "cuda"
        if self._records:
            self._stream = torch.cuda.Stream(device)
            self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, plan: Plan, inputs: Inputs) -> Tensor:
        """Compute; the result holds until the next call."""
        if not self._records:
            return self._function(plan, inputs)
        outside = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(outside)
        with torch.cuda.stream(self._stream):
            result = self._computed(plan, inputs)
        outside.wait_stream(self._stream)
        return result

    def _computed(self, plan: Plan, inputs: Inputs) -> Tensor:
        if plan not in self._graphs:
            if plan not in self._known or len(self._graphs) == MOST:
                self._known.add(plan)
                return self._function(plan, inputs)
            self._graphs[plan] = self._record(plan, inputs)
        graph, places, result = self._graphs[plan]
        for place, given in zip(places, inputs, strict=True):
            if place is None or given is None:
                assert place is given, "a plan says which tensors there are"
            else:
                place.copy_(given, non_blocking=True)
        graph.replay()
        return result

    def _record(self, plan: Plan, inputs: Inputs) -> tuple[torch.cuda.CUDAGraph, Inputs, Tensor]:
        """Record what the function does, without doing it."""
        places = tuple(None if given is None else given.clone() for given in inputs)
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._generator)
        # Other threads may prepare batches meanwhile.
        with torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        ):
            result = self._function(plan, places)
        return graph, places, result
