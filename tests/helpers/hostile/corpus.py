"""All hostile files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.helpers.hostile.binaries import BINARIES
from tests.helpers.hostile.places import PLACES
from tests.helpers.hostile.readers import READERS
from tests.helpers.hostile.texts import TEXTS


class Hostile(NamedTuple):
    """A hostile file.

    Attributes:
        kind: of `tests.helpers.hostile.readers.READERS`.
        name: what is wrong with it.
        make: writes it, given its path.
    """

    kind: str
    name: str
    make: Callable[[Path], object]


def _writer(content: Callable | str | bytes) -> Callable[[Path], object]:
    if callable(content):
        return content
    data = content.encode() if isinstance(content, str) else content
    return lambda path: path.write_bytes(data)


CORPUS = [
    Hostile(kind, name, _writer(made))
    for kind, name, made in (*TEXTS, *BINARIES, *PLACES)
    if kind in READERS
]
