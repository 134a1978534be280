"""Which splits are evaluated while a run trains, and whether an epoch is the best one so far."""

from __future__ import annotations

import math

from torch.optim.lr_scheduler import LRScheduler

from trainers.base.plateau import PLATEAU, PlateauOnValidation

FINAL_MODELS = {
    "last_step": "the last epoch",
    "best_val": "the epoch that is best on the validation images",
    "best_test": "the epoch that is best on the test images, which makes its figures optimistic",
}


class EpochSelection:
    """The rule by which a run's final epoch is chosen.

    Args:
        rule: TEST.FINAL_MODEL, one of `FINAL_MODELS`.
        schedule: OPTIM.LR_SCHEDULER.
        test_split: TEST.SPLIT, which is evaluated in the end.
        test_every: TEST.EVAL_FREQ, epochs between further looks at it; 0: none.
        max_epoch: epochs of the run.

    Attributes:
        best: the best metric so far, in percent.
    """

    def __init__(
        self,
        rule: str,
        schedule: str = "",
        test_split: str = "test",
        test_every: int = 0,
        max_epoch: int = 0,
    ) -> None:
        self.rule, self.schedule = rule, schedule
        self.test_split, self.test_every, self.max_epoch = test_split, test_every, max_epoch
        self.best = -math.inf

    @property
    def selects(self) -> bool:
        """Whether the best epoch is evaluated in the end, not the last one."""
        return self.rule != "last_step"

    @property
    def final_model(self) -> str:
        """Which weights are evaluated in the end, in words."""
        return FINAL_MODELS[self.rule] if self.selects else "the last-epoch model"

    @property
    def watched_split(self) -> str | None:
        """The split that every epoch is evaluated on; None where nothing asks for one."""
        if self.rule == "best_test":
            return "test"
        return "val" if self.selects or self.schedule == PLATEAU else None

    def splits_after(self, done: int) -> list[str]:
        """Splits to evaluate after so many epochs: the watched one, and TEST.SPLIT if it is due.

        Its look after the last epoch is the final evaluation.
        """
        due = self.test_every > 0 and done % self.test_every == 0 and done != self.max_epoch
        splits = [self.watched_split, self.test_split if due else None]
        return [split for split in dict.fromkeys(splits) if split]

    def observe(self, metric: float, sched: LRScheduler | None = None) -> bool:
        """Take in an epoch's metric on the watched split.

        Args:
            metric: in percent, higher is better.
            sched: the run's schedule; one that waits for a metric is told.

        Returns:
            Whether the epoch is the best one so far, and is to be kept.
        """
        if isinstance(sched, PlateauOnValidation):
            sched.observe(metric)
        is_best = self.selects and metric > self.best
        if is_best:
            self.best = metric
        return is_best

    def check_splits(self, has_val: bool, dataset: str) -> None:
        """Refuse to watch, or to test on, a validation split that is not there.

        Stock Dassl takes the test images instead, in silence.

        Args:
            has_val: whether there are validation images.
            dataset: DATASET.NAME, for the message.

        Raises:
            ValueError: validation images are needed and there are none.
        """
        if not has_val and "val" in (self.watched_split, self.test_split):
            raise ValueError(
                "TEST.FINAL_MODEL best_val, OPTIM.LR_SCHEDULER plateau and TEST.SPLIT val need "
                f"validation images and {dataset} has none. Hold some out: "
                "DATASET.VAL_FRACTION 0.1"
            )
