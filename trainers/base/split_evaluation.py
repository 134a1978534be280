"""Evaluation of a split: its batches through the model, and the evaluator's figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import torch
from dassl.evaluation import EvaluatorBase
from torch import Tensor
from tqdm import tqdm

from evaluation.evaluator import MultiLabelLongTail
from modeling.encoders.features import Features

_PROGRESS = {"delay": 2, "leave": False}  # seconds after which a bar appears

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
    def run(self, split: str, loader: Loader, brief: bool = False) -> Mapping[str, float]:
        """The evaluator's metrics of a split.

        Args:
            split: its name, for the log.
            loader: its batches.
            brief: print one line, where the evaluator is that of this project.
        """
        brief = brief and isinstance(self.evaluator, MultiLabelLongTail)
        self.evaluator.brief = brief
        if not brief:
            print(f"Evaluate on the *{split}* set")
        self.evaluator.reset()
        for batch in tqdm(loader, f"Evaluate {split} images", **_PROGRESS):
            features, labels = self.labels(batch)
            self.evaluator.process(self.infer(features), labels)
        metrics = self.evaluator.evaluate()
        if brief:
            print(f"Evaluate on the *{split}* set: {self.evaluator.summary}")
        return metrics

    @torch.no_grad()
    def scores(self, loader: Loader) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits and targets [B, C] of each batch."""
        for batch in tqdm(loader, "Score images", **_PROGRESS):
            features, targets = self.targets(batch)
            yield self.infer(features), targets
