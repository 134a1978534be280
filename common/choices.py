"""Words that must be one of several, and what is said of those that are not."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST = 200  # characters that are compared; no name is longer


def nearest(word: str, choices: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The choice most like a word, whatever its case; None if none is alike.

    Args:
        word: what was given.
        choices: what might be meant.
        cutoff: how alike they must be, in [0, 1]; 0 always finds one.
    """
    by_folded = {choice.casefold(): choice for choice in choices}
    folded = word[:_LONGEST].casefold()
    found = difflib.get_close_matches(folded, by_folded, n=1, cutoff=cutoff)
    return by_folded[found[0]] if found else None


def hint(word: object, choices: Iterable[str]) -> str:
    """The end of a message about an unknown word: " Did you mean 'mean'?", or nothing."""
    close = nearest(str(word), choices)
    return f" Did you mean {close!r}?" if close else ""


def check_choice(key: str, value: object, choices: Iterable[str]) -> None:
    """Refuse a value that is none of the choices.

    Args:
        key: what the user set, for the message.
        value: what it was set to.
        choices: what it may be.

    Raises:
        ValueError: the message names them all, and the nearest one.
    """
    choices = list(choices)
    if value not in choices:
        raise ValueError(
            f"{key} must be one of {', '.join(choices)}, got {value!r}.{hint(value, choices)}"
        )


def spelled(value: object, choices: Iterable[str]) -> object:
    """The choice that differs from a word in its case at most; otherwise the value itself."""
    if not isinstance(value, str):
        return value
    choices = list(choices)
    alike = [choice for choice in choices if choice.casefold() == value.casefold()]
    return alike[0] if len(alike) == 1 and value not in choices else value
