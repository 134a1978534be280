"""Base class of evaluators."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor
from yacs.config import CfgNode


class EvaluatorBase:
    """Collects outputs batch by batch, then computes and prints results."""

    def __init__(self, cfg: CfgNode) -> None:
        self.cfg = cfg

    def reset(self) -> None:
        """Forget all batches."""
        raise NotImplementedError

    def process(self, mo: Tensor, gt: Tensor) -> None:
        """Take the model output `mo` and the ground truth `gt` of one batch."""
        raise NotImplementedError

    def evaluate(self) -> OrderedDict[str, float]:
        """Results by name; the first is the main one, and higher is better."""
        raise NotImplementedError
