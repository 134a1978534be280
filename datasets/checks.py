"""Combinations of DATASET keys that are refused before a file is read."""

from __future__ import annotations

from yacs.config import CfgNode


def check_label_mask(settings: CfgNode) -> None:
    """Refuse a mask that would not be used.

    Args:
        settings: cfg.DATASET.

    Raises:
        ValueError: All labels are known.
    """
    if settings.LABEL_MASK and settings.LABEL_PROPORTION == 1:
        raise ValueError("DATASET.LABEL_MASK is given but unused: set DATASET.LABEL_PROPORTION.")
