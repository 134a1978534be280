"""The files of Dassl's checkpoint folders."""

from __future__ import annotations

import re
from pathlib import Path

BEST = "model-best.pth.tar"
_NUMBERED = re.compile(r"model\.pth\.tar-(\d+)")


def epochs(folder: Path) -> dict[int, Path]:
    """Numbered checkpoints of a folder by epoch, in ascending order."""
    files = folder.iterdir() if folder.is_dir() else []
    found = {int(m[1]): path for path in files if (m := _NUMBERED.fullmatch(path.name))}
    return dict(sorted(found.items()))


def find(folder: Path, epoch: int | None) -> Path:
    """The checkpoint of an epoch; without one the best, or else the newest.

    Raises:
        FileNotFoundError: there is none; the message lists what is there.
    """
    numbered = epochs(folder)
    if epoch is not None:
        path = numbered.get(epoch)
    elif (folder / BEST).is_file():
        path = folder / BEST
    else:
        path = next(reversed(numbered.values()), None)
    if path is None:
        wanted = "checkpoint" if epoch is None else f"checkpoint of epoch {epoch}"
        there = f"It has epochs {', '.join(map(str, numbered))}." if numbered else "It has none."
        raise FileNotFoundError(f"No {wanted} in {folder}. {there}")
    return path
