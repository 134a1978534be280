"""Paths and labels of a data set's items, of large sets without making the items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from common.sparse_targets import SparseTargets


def impaths_of(items: Sequence[Any]) -> Sequence[str]:
    """The pictures of items; of those that keep them together, that sequence."""
    together = getattr(items, "impaths", None)
    return [item.impath for item in items] if together is None else together


def targets_of(items: Sequence[Any]) -> SparseTargets | None:
    """Targets of items that keep them together; None of a list of items."""
    return getattr(items, "targets", None)
