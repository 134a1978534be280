"""Averages of an epoch's loss terms, kept where the terms are."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class TermMeters:
    """Last value and average of each loss term, without waiting for the device at every step."""

    def __init__(self) -> None:
        self._last: dict[str, Tensor] = {}
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def update(self, terms: Mapping[str, Tensor]) -> None:
        """Add the scalars of one step."""
        for name, term in terms.items():
            self._last[name] = term
            # Copied: a captured step writes every result into the same memory.
            self._sums[name] = self._sums[name] + term if name in self._sums else term.clone()
        self._count += 1

    def read(self) -> dict[str, tuple[float, float]]:
        """Last value and average of each term; waits for the device, once.

        Raises:
            FloatingPointError: a term has become infinite or NaN, in this step or an earlier one.
        """
        names = list(self._last)
        last = torch.stack([self._last[name].float() for name in names])
        mean = torch.stack([self._sums[name].float() for name in names]) / self._count
        values = {
            name: (one, average)
            for name, one, average in zip(names, last.tolist(), mean.tolist(), strict=True)
        }
        if not bool(torch.isfinite(mean).all()):
            shown = ", ".join(f"{name} {average:g}" for name, (_, average) in values.items())
            raise FloatingPointError(
                f"The loss is infinite or NaN (averages so far: {shown}). Lower OPTIM.LR, or train "
                "in PREC fp32."
            )
        return values

    @staticmethod
    def line(values: Mapping[str, tuple[float, float]]) -> str:
        """`loss 1.2345 (1.3456) ...`, as Dassl prints it."""
        return " ".join(f"{name} {one:.4f} ({mean:.4f})" for name, (one, mean) in values.items())
