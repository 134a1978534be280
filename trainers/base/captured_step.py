"""A training step replayed as one CUDA graph.

A step on cached features is some 500 small kernels. Launching each from Python takes about 25 ms
whatever they compute; a recorded graph of them is one launch. The optimiser stays outside: its
update of a few context tensors is a launch or two, and so every optimiser, schedule and checkpoint
works as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

_EAGER_FIRST = 3  # real steps before recording, in which libraries choose and set up their kernels
_MOST_GRAPHS = 4  # each holds the memory of a step; inputs of ever new shapes are not recorded

Terms = dict[str, Tensor]
Gradients = Callable[[dict[str, Tensor]], Terms]


class Graph(Protocol):
    """What is used of `torch.cuda.CUDAGraph`."""

    def replay(self) -> None:
        """Run the recorded kernels again."""


@dataclass
class _Recorded:
    """One graph with the memory it reads and writes."""

    graph: Graph
    inputs: dict[str, Tensor]
    terms: Terms
    gradients: list[Tensor | None]


class CapturedStep:
    """Computes loss terms and gradients, recorded once for each shape of the inputs.

    The last, smaller batch of an epoch has a shape, and so a graph, of its own.

    Args:
        gradients: from input tensors on the device to loss terms; leaves gradients in the
            parameters. It must not read values back nor depend on anything but its inputs and
            tensors that stay where they are.
        parameters: what is trained.
        record: makes a graph and the context that records into it; CUDA's if None.
    """

    def __init__(
        self,
        gradients: Gradients,
        parameters: Sequence[nn.Parameter],
        record: Callable[[], tuple[Graph, AbstractContextManager]] | None = None,
    ) -> None:
        self.gradients, self.parameters = gradients, list(parameters)
        self._record = record or self._cuda_graph
        on_gpu = any(parameter.is_cuda for parameter in self.parameters)
        # Autograd accumulates a gradient on the stream that its parameter was first used on, and
        # libraries keep a workspace for each stream: so steps are tried where they are recorded.
        self._stream = torch.cuda.Stream() if on_gpu else None
        # One pool for all graphs: they never run at once, and what outlives a replay is held.
        self._pool = torch.cuda.graph_pool_handle() if on_gpu else None
        self._seen: dict[tuple, int] = {}
        self._recorded: dict[tuple, _Recorded] = {}
        self.refused = ""

    def __call__(self, inputs: dict[str, Tensor]) -> Terms:
        """Loss terms of a batch; its gradients are in the parameters, ready for the optimiser."""
        key = tuple((name, tuple(t.shape), t.dtype) for name, t in sorted(inputs.items()))
        if key in self._recorded:
            return self._replay(self._recorded[key], inputs)
        self._seen[key] = self._seen.get(key, 0) + 1
        for parameter in self.parameters:
            parameter.grad = None  # a recorded step makes them anew, in the graph's own memory
        full = len(self._recorded) >= _MOST_GRAPHS
        if self.refused or full:
            return self.gradients(inputs)
        if self._seen[key] <= _EAGER_FIRST:
            with self._on_capture_stream():
                return self.gradients(inputs)
        return self._capture(key, inputs)

    def _capture(self, key: tuple, inputs: dict[str, Tensor]) -> Terms:
        kept = {name: tensor.clone() for name, tensor in inputs.items()}
        try:
            graph, recording = self._record()
            with (
                self._on_capture_stream(),
                recording,
            ):  # a failed recording would leave its stream current
                terms = self.gradients(kept)
        except RuntimeError as error:
            cause = error.__context__ or error  # ending a failed recording raises an error, too
            self.refused = str(cause).strip().partition("\n")[0]
            print(f"Training without a CUDA graph, for recording one failed: {self.refused}")
            return self(inputs)
        gradients = [parameter.grad for parameter in self.parameters]
        recorded = self._recorded[key] = _Recorded(graph, kept, terms, gradients)
        return self._replay(recorded, inputs)  # recording computes nothing

    def _replay(self, recorded: _Recorded, inputs: dict[str, Tensor]) -> Terms:
        for name, tensor in inputs.items():
            recorded.inputs[name].copy_(tensor, non_blocking=True)
        recorded.graph.replay()
        for parameter, gradient in zip(self.parameters, recorded.gradients, strict=True):
            parameter.grad = gradient
        return recorded.terms

    @contextmanager
    def _on_capture_stream(self) -> Iterator[None]:
        """Run on the recording stream, in order with what comes before and after."""
        if self._stream is None:
            yield
            return
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            yield
        current.wait_stream(self._stream)

    def _cuda_graph(self) -> tuple[Graph, AbstractContextManager]:
        graph = torch.cuda.CUDAGraph()
        # Other threads go on as they like: one that pins a loader's batches would end a recording
        # in the "global" mode.
        mode = "thread_local"
        return graph, torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode=mode)
