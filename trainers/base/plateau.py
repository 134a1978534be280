"""Learning rate schedules: Dassl's, and one that waits for a validation metric to stop rising."""

from __future__ import annotations

from dassl.optim import build_lr_scheduler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from yacs.config import CfgNode

PLATEAU = "plateau"  # its name, in OPTIM.LR_SCHEDULER


class PlateauOnValidation(ReduceLROnPlateau):
    """PyTorch's plateau schedule under Dassl's interface, in which `step()` knows no metric.

    Dassl steps schedules at the end of an epoch, before the epoch is validated, so `step` does
    nothing and `observe` does the work.
    """

    def step(self, *_: object) -> None:
        """Nothing: see `observe`."""

    def observe(self, metric: float) -> None:
        """Take note of an epoch's metric, higher is better; lower the rate if it stalls."""
        super().step(metric)


def build_schedule(optim: Optimizer, options: CfgNode) -> LRScheduler:
    """The schedule that OPTIM.LR_SCHEDULER names.

    Args:
        optim: its rates are changed.
        options: the config's OPTIM.
    """
    if options.LR_SCHEDULER != PLATEAU:
        return build_lr_scheduler(optim, options)
    return PlateauOnValidation(optim, "max", options.GAMMA, options.PATIENCE, min_lr=options.MIN_LR)
