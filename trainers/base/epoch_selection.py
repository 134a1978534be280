"""Which split is watched while a run trains, and whether an epoch is the best one so far."""

from __future__ import annotations

import math

FINAL_MODELS = {
    "last_step": "the last epoch",
    "best_val": "the epoch that is best on the validation images",
    "best_test": "the epoch that is best on the test images, which makes its figures optimistic",
}
PLATEAU = "plateau"  # the schedule that watches a metric


class EpochSelection:
    """The rule by which a run's final epoch is chosen.

    Args:
        rule: TEST.FINAL_MODEL, one of `FINAL_MODELS`.
        schedule: OPTIM.LR_SCHEDULER.

    Attributes:
        best: the best metric so far, in percent.
    """

    def __init__(self, rule: str, schedule: str = "") -> None:
        self.rule, self.schedule = rule, schedule
        self.best = -math.inf

    @property
    def selects(self) -> bool:
        """Whether the best epoch is evaluated in the end, not the last one."""
        return self.rule != "last_step"

    @property
    def watched_split(self) -> str | None:
        """The split that every epoch is evaluated on; None where nothing asks for one."""
        if self.rule == "best_test":
            return "test"
        return "val" if self.selects or self.schedule == PLATEAU else None

    def observe(self, metric: float) -> bool:
        """Take an epoch's metric in; returns whether it is to be kept as the best one."""
        is_best = self.selects and metric > self.best
        if is_best:
            self.best = metric
        return is_best

    def check_splits(self, has_val: bool, test_split: str, dataset: str) -> None:
        """Refuse to watch, or to test on, a validation split that is not there.

        Stock Dassl takes the test images instead, in silence.

        Args:
            has_val: whether there are validation images.
            test_split: TEST.SPLIT.
            dataset: DATASET.NAME, for the message.

        Raises:
            ValueError: validation images are needed and there are none.
        """
        if not has_val and "val" in (self.watched_split, test_split):
            raise ValueError(
                "TEST.FINAL_MODEL best_val, OPTIM.LR_SCHEDULER plateau and TEST.SPLIT val need "
                f"validation images and {dataset} has none. Hold some out: "
                "DATASET.VAL_FRACTION 0.1"
            )
