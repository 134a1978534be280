"""What the runs of one process share: things that are slow to make and that nobody changes.

Only processes that run one command after the other share; in all others nothing is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Thing = TypeVar("Thing")

_kept: dict[Hashable, Any] = {}
_asked: set[Hashable] = set()  # by the present run
_sharing = False


def begin_shared_run() -> None:
    """Keep what is asked for from now on, and drop what the run before did not ask for."""
    global _sharing
    _sharing = True
    for key in _kept.keys() - _asked:
        del _kept[key]
    _asked.clear()


def shared(key: Hashable, make: Callable[[], Thing]) -> Thing:
    """What an earlier run of this process made, or what is made now.

    Args:
        key: all that the thing depends on.
        make: makes it; whoever gets it leaves it as it is. None is not kept.
    """
    if not _sharing:
        return make()
    _asked.add(key)
    if key not in _kept and (made := make()) is not None:
        _kept[key] = made
    return _kept.get(key)
