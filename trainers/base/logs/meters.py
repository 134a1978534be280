"""Averages of an epoch's loss terms, kept where the terms are."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor


class NotFiniteError(FloatingPointError):
    """A loss term has become infinite or NaN.

    Args:
        index: of the first such step, from 0, among those since the last read.
        step: the same, among all of the epoch.
        parts: names of the terms.
    """

    def __init__(self, index: int, step: int, parts: list[str]) -> None:
        super().__init__(f"{' and '.join(parts)} became infinite or NaN in step {step + 1}.")
        self.index, self.step, self.parts = index, step, parts


class TermMeters:
    """Last value and average of each loss term, without waiting for the device at every step."""

    def __init__(self) -> None:
        self._last: dict[str, Tensor] = {}
        self._sums: dict[str, Tensor] = {}
        self._count = 0
        self._recent: list[dict[str, Tensor]] = []  # the sums after each step since the last read

    def update(self, terms: Mapping[str, Tensor]) -> None:
        """Add the scalars of one step."""
        for name, term in terms.items():
            self._last[name] = term
            # Copied: a captured step writes every result into the same memory.
            self._sums[name] = self._sums[name] + term if name in self._sums else term.clone()
        self._recent.append(dict(self._sums))
        self._count += 1

    def read(self) -> dict[str, tuple[float, float]]:
        """Last value and average of each term; waits for the device, once.

        Raises:
            NotFiniteError: a term has become infinite or NaN, in this step or an earlier one.
        """
        names = list(self._last)
        last = torch.stack([self._last[name].float() for name in names])
        mean = torch.stack([self._sums[name].float() for name in names]) / self._count
        if not bool(torch.isfinite(mean).all()):
            raise self._first_not_finite()
        self._recent.clear()
        return {
            name: (one, average)
            for name, one, average in zip(names, last.tolist(), mean.tolist(), strict=True)
        }

    def _first_not_finite(self) -> NotFiniteError:
        bad = [
            [name for name, total in sums.items() if not math.isfinite(float(total))]
            for sums in self._recent
        ]
        index = next(index for index, names in enumerate(bad) if names)
        parts = [name for name in bad[index] if name != "loss"]  # they tell more than their sum
        return NotFiniteError(index, self._count - len(bad) + index, parts or bad[index])

    @staticmethod
    def line(values: Mapping[str, tuple[float, float]]) -> str:
        """`loss 1.2345 (1.3456) ...`, as Dassl prints it."""
        return " ".join(f"{name} {one:.4f} ({mean:.4f})" for name, (one, mean) in values.items())
