"""Running averages for the training log."""

from __future__ import annotations

from collections import defaultdict

import torch


class AverageMeter:
    """Last value and average of a series of numbers.

    Args:
        ema: average exponentially (a tenth of each new value), starting from 0.
    """

    def __init__(self, ema: bool = False) -> None:
        self.ema = ema
        self.reset()

    def reset(self) -> None:
        """Forget all values."""
        self.val = self.avg = self.sum = self.count = 0

    def update(self, val: float | torch.Tensor, n: int = 1) -> None:
        """Add a value that stands for `n` items."""
        self.val = val.item() if isinstance(val, torch.Tensor) else val
        self.sum += self.val * n
        self.count += n
        self.avg = 0.9 * self.avg + 0.1 * self.val if self.ema else self.sum / self.count


class MetricMeter:
    """One `AverageMeter` per name; its `str` is `loss 1.2345 (1.3456) acc ...`.

    Args:
        delimiter: text between two metrics.
    """

    def __init__(self, delimiter: str = " ") -> None:
        self.meters: dict[str, AverageMeter] = defaultdict(AverageMeter)
        self.delimiter = delimiter

    def update(self, input_dict: dict[str, float | torch.Tensor] | None) -> None:
        """Add one value per name; None is ignored.

        Raises:
            TypeError: the argument is neither a dict nor None.
        """
        if input_dict is None:
            return
        if not isinstance(input_dict, dict):
            raise TypeError(
                "Input to MetricMeter.update() must be a dictionary, "
                f"got {type(input_dict).__name__}"
            )
        for name, value in input_dict.items():
            self.meters[name].update(value)

    def __str__(self) -> str:
        """All metrics in one line."""
        return self.delimiter.join(
            f"{name} {meter.val:.4f} ({meter.avg:.4f})" for name, meter in self.meters.items()
        )
