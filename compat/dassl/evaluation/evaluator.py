"""Single-label accuracy."""

from __future__ import annotations

import os
from collections import OrderedDict

import torch
from torch import Tensor
from yacs.config import CfgNode

from .base import EvaluatorBase
from .build import EVALUATOR_REGISTRY

__all__ = ["Classification", "EvaluatorBase"]


@EVALUATOR_REGISTRY.register()
class Classification(EvaluatorBase):
    """Accuracy, error rate and macro F1 of single-label predictions, in percent.

    Args:
        cfg: config. `TEST.PER_CLASS_RESULT` adds the accuracy per class, `TEST.COMPUTE_CMAT`
            writes the confusion matrix to `OUTPUT_DIR/cmat.pt`.
        lab2cname: label to class name.
    """

    def __init__(
        self, cfg: CfgNode, lab2cname: dict[int, str] | None = None, **kwargs: object
    ) -> None:
        super().__init__(cfg)
        if cfg.TEST.PER_CLASS_RESULT and lab2cname is None:
            raise ValueError("TEST.PER_CLASS_RESULT needs lab2cname, got None")
        self._lab2cname = lab2cname
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self._y_true: list[int] = []
        self._y_pred: list[int] = []

    def process(self, mo: Tensor, gt: Tensor) -> None:
        """Take scores [B, C] and labels [B].

        Raises:
            ValueError: the targets are not class indices.
        """
        if gt.dim() != 1:
            raise ValueError(
                f"Classification expects labels [B], got {[*gt.shape]}; "
                "multi-label targets need another TEST.EVALUATOR"
            )
        self._y_true.extend(gt.tolist())
        self._y_pred.extend(mo.argmax(dim=1).tolist())

    def evaluate(self) -> OrderedDict[str, float]:
        """Compute and print the results."""
        labels, counts = confusion_matrix(self._y_true, self._y_pred)  # [K, K]
        total, correct = int(counts.sum()), int(counts.trace())
        accuracy = 100.0 * correct / total
        macro_f1 = 100.0 * _macro_f1(counts)
        results = OrderedDict(accuracy=accuracy, error_rate=100.0 - accuracy, macro_f1=macro_f1)
        print(
            "=> result\n"
            f"* total: {total:,}\n"
            f"* correct: {correct:,}\n"
            f"* accuracy: {accuracy:.1f}%\n"
            f"* error: {results['error_rate']:.1f}%\n"
            f"* macro_f1: {macro_f1:.1f}%"
        )
        if self.cfg.TEST.PER_CLASS_RESULT:
            results["perclass_accuracy"] = self._print_per_class(labels, counts)
        if self.cfg.TEST.COMPUTE_CMAT:
            path = os.path.join(self.cfg.OUTPUT_DIR, "cmat.pt")
            torch.save(counts / counts.sum(dim=1, keepdim=True).clamp(min=1), path)
            print(f"Confusion matrix is saved to {path}")
        return results

    def _print_per_class(self, labels: list[int], counts: Tensor) -> float:
        print("=> per-class result")
        accuracies = []
        for row, label in enumerate(labels):
            total, correct = int(counts[row].sum()), int(counts[row, row])
            if total == 0:  # predicted, but never the truth
                continue
            accuracies.append(100.0 * correct / total)
            print(
                f"* class: {label} ({self._lab2cname[label]})\ttotal: {total:,}\t"
                f"correct: {correct:,}\tacc: {accuracies[-1]:.1f}%"
            )
        average = sum(accuracies) / len(accuracies)
        print(f"* average: {average:.1f}%")
        return average


def confusion_matrix(y_true: list[int], y_pred: list[int]) -> tuple[list[int], Tensor]:
    """Counts [K, K] of (true, predicted) pairs over the K labels that occur, and these labels."""
    labels, indices = torch.tensor([y_true, y_pred]).unique(return_inverse=True)
    size = len(labels)
    counts = torch.bincount(indices[0] * size + indices[1], minlength=size * size)
    return labels.tolist(), counts.reshape(size, size)  # [K, K]


def _macro_f1(counts: Tensor) -> float:
    """Mean F1 in [0, 1] of the labels that occur as truth."""
    true, predicted = counts.sum(dim=1), counts.sum(dim=0)
    f1 = 2.0 * counts.diagonal() / (true + predicted)
    return f1[true > 0].mean().item()
