"""Learning rate that falls when a validation metric stops rising."""

from __future__ import annotations

from torch.optim.lr_scheduler import ReduceLROnPlateau


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
