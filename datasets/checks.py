"""Values of DATASET keys that are refused before a file is read."""

from __future__ import annotations

from yacs.config import CfgNode


def check_proportions(settings: CfgNode) -> None:
    """Refuse shares outside their range, and a mask that would not be used.

    Args:
        settings: cfg.DATASET.

    Raises:
        ValueError: Such a value.
    """
    if not 0 <= settings.VAL_FRACTION < 1:
        raise ValueError(f"DATASET.VAL_FRACTION must be in [0, 1), got {settings.VAL_FRACTION}.")
    known = settings.LABEL_PROPORTION
    if not 0 < known <= 1:
        raise ValueError(f"DATASET.LABEL_PROPORTION must be in (0, 1], got {known}.")
    if settings.LABEL_MASK and known == 1:
        raise ValueError("DATASET.LABEL_MASK is given but unused: set DATASET.LABEL_PROPORTION.")
