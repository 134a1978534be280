"""Learning-rate schedules, stepped once per epoch, with an optional warm-up before them."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, StepLR
from yacs.config import CfgNode

from compat.checkpoint_reader import saved_state

AVAI_SCHEDS = ["single_step", "multi_step", "cosine"]


class _WarmupScheduler(LRScheduler):
    """Sets its own rates for `warmup_epoch` epochs, then lets `successor` take over.

    Args:
        optimizer: optimiser.
        successor: schedule that starts when the warm-up is over.
        warmup_epoch: epochs of warm-up.
        last_epoch: epochs done; -1 at the start.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        successor: LRScheduler,
        warmup_epoch: int,
        last_epoch: int = -1,
    ) -> None:
        self.successor = successor
        self.warmup_epoch = warmup_epoch
        super().__init__(optimizer, last_epoch)

    def warmup_lr(self, base_lr: float) -> float:
        """Rate in epoch `self.last_epoch` of the warm-up, of a group whose full rate is given."""
        raise NotImplementedError

    def get_lr(self) -> list[float]:
        """Rates of the groups in the current epoch."""
        if self.last_epoch >= self.warmup_epoch:
            return self.successor.get_last_lr()
        return [self.warmup_lr(base_lr) for base_lr in self.base_lrs]

    def step(self, epoch: int | None = None) -> None:
        """Go to the next epoch."""
        if self.last_epoch >= self.warmup_epoch:
            self.successor.step()
            self._last_lr = self.successor.get_last_lr()
        else:
            super().step()

    def state_dict(self) -> dict[str, Any]:
        """Plain values only: saved as an object, the successor would drag along the optimiser."""
        return {**super().state_dict(), "successor": self.successor.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue; `successor` may be a state dict, or the object that older files hold."""
        state = saved_state(state_dict)
        self.successor.load_state_dict(saved_state(state.pop("successor")))
        super().load_state_dict(state)


class ConstantWarmupScheduler(_WarmupScheduler):
    """The rate `cons_lr` during the warm-up."""

    def __init__(
        self,
        optimizer: Optimizer,
        successor: LRScheduler,
        warmup_epoch: int,
        cons_lr: float,
        last_epoch: int = -1,
    ) -> None:
        self.cons_lr = cons_lr
        super().__init__(optimizer, successor, warmup_epoch, last_epoch)

    def warmup_lr(self, base_lr: float) -> float:
        """The constant."""
        return self.cons_lr


class LinearWarmupScheduler(_WarmupScheduler):
    """The rate `min_lr` in the first epoch, then a straight line towards the full rate."""

    def __init__(
        self,
        optimizer: Optimizer,
        successor: LRScheduler,
        warmup_epoch: int,
        min_lr: float,
        last_epoch: int = -1,
    ) -> None:
        self.min_lr = min_lr
        super().__init__(optimizer, successor, warmup_epoch, last_epoch)

    def warmup_lr(self, base_lr: float) -> float:
        """A share of the full rate."""
        if self.last_epoch == 0:
            return self.min_lr
        return base_lr * self.last_epoch / self.warmup_epoch


def build_lr_scheduler(optimizer: Optimizer, optim_cfg: CfgNode) -> LRScheduler:
    """The schedule of `cfg.OPTIM`.

    The cosine runs over MAX_EPOCH epochs without subtracting the warm-up, so that the rate does
    not reach 0, as in the published results.

    Raises:
        ValueError: unknown LR_SCHEDULER or WARMUP_TYPE.
        TypeError: STEPSIZE does not suit the schedule.
    """
    scheduler = _build_plain(optimizer, optim_cfg)
    warmup_epoch = optim_cfg.WARMUP_EPOCH
    if warmup_epoch <= 0:
        return scheduler
    if not optim_cfg.WARMUP_RECOUNT:
        scheduler.last_epoch = warmup_epoch
    if optim_cfg.WARMUP_TYPE == "constant":
        return ConstantWarmupScheduler(optimizer, scheduler, warmup_epoch, optim_cfg.WARMUP_CONS_LR)
    if optim_cfg.WARMUP_TYPE == "linear":
        return LinearWarmupScheduler(optimizer, scheduler, warmup_epoch, optim_cfg.WARMUP_MIN_LR)
    raise ValueError(
        f"WARMUP_TYPE must be one of ['linear', 'constant'], but got {optim_cfg.WARMUP_TYPE}"
    )


def _build_plain(optimizer: Optimizer, cfg: CfgNode) -> LRScheduler:
    """The schedule without warm-up."""
    stepsize = cfg.STEPSIZE
    if cfg.LR_SCHEDULER == "cosine":
        return CosineAnnealingLR(optimizer, float(cfg.MAX_EPOCH))
    if cfg.LR_SCHEDULER == "multi_step":
        if not isinstance(stepsize, (list, tuple)):
            raise TypeError(
                "For multi_step lr_scheduler, stepsize must be a list, "
                f"but got {type(stepsize).__name__}"
            )
        return MultiStepLR(optimizer, milestones=stepsize, gamma=cfg.GAMMA)
    if cfg.LR_SCHEDULER == "single_step":
        stepsize = stepsize[-1] if isinstance(stepsize, (list, tuple)) else stepsize
        if not isinstance(stepsize, int):
            raise TypeError(
                "For single_step lr_scheduler, stepsize must be an integer, "
                f"but got {type(stepsize).__name__}"
            )
        step_size = stepsize if stepsize > 0 else cfg.MAX_EPOCH
        return StepLR(optimizer, step_size=step_size, gamma=cfg.GAMMA)
    raise ValueError(f"scheduler must be one of {AVAI_SCHEDS}, but got {cfg.LR_SCHEDULER}")
