"""Where a result comes from: its command, the commit of the code, the date and the device."""

from __future__ import annotations

import datetime
import shlex
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from dassl.data.datasets import DatasetBase

from common.devices import device_name, run_device

__all__ = ["commit_of", "provenance", "utc_date"]

_ROOT = Path(__file__).resolve().parents[2]
_SECONDS = 10  # that git may take


def provenance(dataset: DatasetBase, use_cuda: bool) -> dict[str, Any]:
    """What results.json says of where it comes from.

    Args:
        dataset: the run's.
        use_cuda: USE_CUDA.

    Returns:
        `command`, of this process; `commit` and `dirty`, see `commit_of`; `device`, by torch's
        name; `images`, the number of them in each split.
    """
    commit, dirty = commit_of(_ROOT)
    splits = {"train": dataset.train_x, "val": dataset.val, "test": dataset.test}
    return {
        "command": shlex.join(sys.argv),
        "commit": commit,
        "dirty": dirty,
        "device": device_name(run_device(use_cuda)),
        "images": {name: len(items or ()) for name, items in splits.items()},
    }


def utc_date() -> str:
    """This moment, as ISO 8601 writes it, to the second."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


@lru_cache
def commit_of(root: Path) -> tuple[str | None, bool | None]:
    """The commit that a folder is a checkout of, and whether tracked files differ from it.

    It is asked for once in a process: a run is of the code that it has loaded.

    Args:
        root: of the checkout. A folder within somebody else's checkout is none.

    Returns:
        None and None where there is no checkout, or no git.
    """
    if not (root / ".git").exists():
        return None, None
    words = ["git", "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        done = subprocess.run(words, cwd=root, capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return None, None
    lines = done.stdout.splitlines()
    named = [line.split()[-1] for line in lines if line.startswith("# branch.oid ")]
    if done.returncode != 0 or not named or named[0] == "(initial)":
        return None, None
    return named[0], any(not line.startswith("#") for line in lines)
