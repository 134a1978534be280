"""What is no file, in the place of every file that is read: pipes, devices, links, folders."""

from __future__ import annotations

import os
from pathlib import Path

from tests.helpers.hostile.readers import READERS


def _link(target: str, path: Path) -> None:
    path.symlink_to(target)


def _outside(path: Path) -> None:
    path.symlink_to(path.parent.parent / "outside" / "mine.txt")


def _lock_link(path: Path) -> None:
    path.symlink_to(path.parents[2] / "outside" / "mine.txt")


_FILES = [kind for kind in READERS if kind != "override"]  # words are in no file

PLACES = [
    *((kind, "a pipe", os.mkfifo) for kind in _FILES),
    *(
        (kind, "a device", lambda path: _link("/dev/zero", path))
        for kind in _FILES
        if kind not in ("lock", "unfinished cache")
    ),
    *((kind, "a folder", Path.mkdir) for kind in _FILES if kind != "lock"),
    *((kind, "a ring of links", lambda path: _link(path.name, path)) for kind in _FILES),
    ("unfinished cache", "a link outside", _outside),
    ("lock", "a link outside", _lock_link),
]
