"""One training step: loss terms and gradients, computed as they come or replayed as a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from trainers.base.captured_step import CapturedStep

Tensors = dict[str, Tensor]


class TrainingStep:
    """Computes the loss terms of a batch and leaves gradients in the parameters.

    The optimiser is not part of it: the caller steps it, through `scaler`.

    Args:
        terms: from a batch's tensors, all on the device, to its loss terms; "loss" is minimised.
            For a capture it must read no value back from the device.
        parameters: what is trained.
        scaler: scales losses under fp16 autocast, and does nothing otherwise.
        capture: replay the step as a CUDA graph.
    """

    def __init__(
        self,
        terms: Callable[[Tensors], Tensors],
        parameters: Sequence[nn.Parameter],
        scaler: torch.amp.GradScaler,
        capture: bool = False,
    ) -> None:
        self.terms, self.parameters, self.scaler = terms, list(parameters), scaler
        self._captured = CapturedStep(self._gradients, self.parameters) if capture else None

    def __call__(self, inputs: Tensors) -> Tensors:
        """Loss terms of a batch, detached; its gradients replace those of the batch before."""
        if self._captured is not None:
            return self._captured(inputs)
        for parameter in self.parameters:
            parameter.grad = None
        return self._gradients(inputs)

    def _gradients(self, inputs: Tensors) -> Tensors:
        terms = self.terms(inputs)
        self.scaler.scale(terms["loss"]).backward()
        return {name: term.detach() for name, term in terms.items()}
