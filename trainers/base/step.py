"""One training step: loss terms and gradients, computed as they come or replayed as a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from common.ranks import average_gradients
from modeling.encoders.features import Features
from trainers.base.captured_step import CapturedStep

Terms = dict[str, Tensor]
_FEATURES = ("global_features", "local_features", "mask")


class TrainingStep:
    """Computes the loss terms of a batch and leaves gradients in the parameters.

    The optimiser is not part of it: the caller steps it, through `scaler`.

    Args:
        terms: from features, targets, index and sample_seed of a batch, all on the device, to its
            loss terms, as `PromptModel.terms`; "loss" is minimised. For a capture it must read no
            value back from the device.
        parameters: of what is trained; those that ask for no gradient are left alone.
        scaler: scales losses under fp16 autocast, and does nothing otherwise.
        capture: replay the step as a CUDA graph, where the parameters lie on a GPU.
    """

    def __init__(
        self,
        terms: Callable[[Features, Tensor, Tensor, Tensor], Terms],
        parameters: Iterable[nn.Parameter],
        scaler: torch.amp.GradScaler,
        capture: bool = False,
    ) -> None:
        self.terms, self.scaler = terms, scaler
        self.parameters = [p for p in parameters if p.requires_grad]
        on_gpu = any(parameter.is_cuda for parameter in self.parameters)
        self._captured = None
        if capture and on_gpu:
            self._captured = CapturedStep(self._gradients, self.parameters)

    def __call__(
        self, features: Features, targets: Tensor, index: Tensor, sample_seed: Tensor
    ) -> Terms:
        """Loss terms of a batch, detached; its gradients replace those of the batch before.

        Of several ranks, the gradients are averaged (`common.ranks`).
        """
        inputs = {"targets": targets, "index": index, "sample_seed": sample_seed}
        inputs |= {n: t for n in _FEATURES if (t := getattr(features, n)) is not None}
        terms = self._anew(inputs) if self._captured is None else self._captured(inputs)
        average_gradients(self.parameters)
        return terms

    def _anew(self, inputs: dict[str, Tensor]) -> Terms:
        for parameter in self.parameters:
            parameter.grad = None
        return self._gradients(inputs)

    def _gradients(self, inputs: dict[str, Tensor]) -> Terms:
        """Loss terms of the tensors that a step depends on, each of its own memory."""
        features = Features(*(inputs.get(name) for name in _FEATURES))
        terms = self.terms(features, inputs["targets"], inputs["index"], inputs["sample_seed"])
        self.scaler.scale(terms["loss"]).backward()
        return {name: term.detach() for name, term in terms.items()}
