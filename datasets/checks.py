"""Values of DATASET keys that are refused before a file is read."""

from __future__ import annotations

import difflib

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


def check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a value that is none of the choices.

    Args:
        key: Its name, for the message.
        value: What it was set to.
        choices: What it may be.

    Raises:
        ValueError: The message names the nearest choice.
    """
    if value not in choices:
        nearest = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"{key} must be one of {', '.join(choices)}, got {value!r}. Did you mean {nearest!r}?"
        )
