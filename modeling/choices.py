"""The one way to refuse a word that is not among the choices."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def check_choice(key: str, value: str, choices: Iterable[str]) -> None:
    """Raise ValueError, with the nearest choice, unless `value` is one of `choices`.

    Args:
        key: what the user set, for the message.
        value: what it was set to.
        choices: what it may be.
    """
    choices = list(choices)
    if value not in choices:
        close = difflib.get_close_matches(str(value), choices, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{key} must be one of {', '.join(choices)}, got {value!r}.{hint}")
