"""How far the values of a pickle reach, counted as somebody meets them who walks through them."""

from __future__ import annotations

from collections import deque

from common.readers.pickles.vocabulary import Placeholder, refusal

MAX_VALUES = 4_000_000
MAX_DEPTH = 100
_NESTED = (list, tuple, dict, set, frozenset, deque)


def check_extent(root: object) -> None:
    """Refuse what is endless, or nearly so, for whoever walks through it.

    A list of a list twice of a list twice ... is short in a file, and printing it never ends.

    Args:
        root: what a pickle gave.

    Raises:
        pickle.UnpicklingError: it has more than `MAX_VALUES` values, each shared one counted
            wherever it stands, or lies more than `MAX_DEPTH` containers deep.
    """
    known: dict[int, tuple[int, int]] = {}  # values and depth of containers
    strangers: dict[int, Placeholder] = {}  # nobody walks into their attributes by chance

    def extent(value: object, above: int) -> tuple[int, int]:
        if isinstance(value, Placeholder) and id(value) not in strangers:
            strangers[id(value)] = value
            waiting.append(vars(value))
        if not isinstance(value, _NESTED):
            return 1, 0
        if id(value) not in known:
            if above > MAX_DEPTH:
                raise refusal(f"its values lie more than {MAX_DEPTH} containers deep")
            inner = [*value, *value.values()] if isinstance(value, dict) else value
            found = [extent(item, above + 1) for item in inner]
            values = 1 + sum(count for count, _ in found)
            known[id(value)] = values, 1 + max((depth for _, depth in found), default=0)
        values, depth = known[id(value)]
        if values > MAX_VALUES or above + depth > MAX_DEPTH:
            raise refusal(
                f"its values number more than {MAX_VALUES} or lie more than {MAX_DEPTH} deep"
            )
        return values, depth

    waiting = [root]
    while waiting:
        extent(waiting.pop(), 0)
