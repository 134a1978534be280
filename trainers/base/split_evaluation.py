"""Evaluation of a split: its batches through the model, and the evaluator's figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import torch
from dassl.evaluation import EvaluatorBase
from torch import Tensor
from tqdm import tqdm

from modeling.encoders.features import Features

_FEW_BATCHES = 20  # of an evaluation; fewer need no progress bar

Parse = Callable[[dict[str, Any]], tuple[Features, Tensor]]  # a loader's batch


class Loader(Protocol):
    """Batches, and how many there are."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The batches, in order."""

    def __len__(self) -> int:
        """Their number."""


class SplitEvaluation:
    """Scores the images of a loader, without gradients.

    Args:
        infer: from features of B images to logits [B, C].
        labels: from a batch to its features and its labels as the evaluator wants them.
        targets: from a batch to its features and its targets [B, C].
        evaluator: any of Dassl's.
    """

    def __init__(
        self,
        infer: Callable[[Features], Tensor],
        labels: Parse,
        targets: Parse,
        evaluator: EvaluatorBase,
    ) -> None:
        self.infer, self.labels, self.targets = infer, labels, targets
        self.evaluator = evaluator

    @torch.no_grad()
    def run(self, split: str, loader: Loader) -> Mapping[str, float]:
        """The evaluator's metrics of a split.

        Args:
            split: its name, for the log.
            loader: its batches.
        """
        print(f"Evaluate on the *{split}* set")
        self.evaluator.reset()
        for batch in tqdm(loader, disable=len(loader) < _FEW_BATCHES):
            features, labels = self.labels(batch)
            self.evaluator.process(self.infer(features), labels)
        return self.evaluator.evaluate()

    @torch.no_grad()
    def scores(self, loader: Loader) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits and targets [B, C] of each batch."""
        for batch in loader:
            features, targets = self.targets(batch)
            yield self.infer(features), targets
