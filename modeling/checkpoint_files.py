"""The files of Dassl's checkpoint folders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

BEST = "model-best.pth.tar"
_NUMBERED = re.compile(r"model\.pth\.tar-(\d+)")
_SHOWN = 4  # differences named in a message


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


def check_fits(path: Path, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Refuse a checkpoint of another method, of other options or of another number of classes.

    Args:
        path: the checkpoint, for the message.
        found: its tensors.
        expected: those that are to be loaded.

    Raises:
        ValueError: names or shapes differ; the message tells the first differences.
    """
    there, here = ({name: tuple(t.shape) for name, t in d.items()} for d in (found, expected))
    differing = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    if not differing:
        return
    lines = [
        f"  {name}: {there.get(name, 'none')} there, {here.get(name, 'none')} here"
        for name in differing[:_SHOWN]
    ]
    more = f"\n  and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
    raise ValueError(
        f"{path} is of another method, of other options or of other classes:\n"
        + "\n".join(lines)
        + f"{more}\nUse the options of its run; they are in its log.txt and config.yaml."
    )
