"""Small runs of train.py, each in a process forked from one that has everything imported.

A run of a second would spend six on importing; a fork has done so already. It works in a folder of
its own with paths relative to it, so that two runs differ in nothing that they write but times.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

import train
from common.user_errors import run_command
from datasets import shapes_lt
from datasets.shapes.specs import ShapesSpec
from evaluation.results.saved_scores import load_scores
from scripts.reliability.kill_cases import Case
from tests.helpers.sets.small_set import arguments, write_set

TIMES = {"seconds", "seconds_spent", "date"}  # what two equal runs may differ in
_NOT_COMPARED = ("log.txt", "events.out.tfevents")  # appended to, with times in them
_CHECKPOINT = re.compile(r"model.*\.pth\.tar(-\d+)?")
_SCORES = re.compile(r"scores.*\.npz")
_DRAWN = ShapesSpec(
    train_images=24, train_counts=(18, 2, *(1,) * 18), test_images=20, test_counts=(2,) * 20
)


def prepare(base: Path) -> None:
    """Write what all runs share, once, and settle what the machine shall not decide.

    Args:
        base: an empty folder; it gets the small data set and the small CLIP.
    """
    torch.set_num_threads(1)  # threads would not survive the forks
    shapes_lt.SPEC = _DRAWN
    write_set(base / "data")


def words_of(case: Case, base: Path) -> list[str]:
    """Words of a case's train.py command, given in the folder of `lay_out`."""
    root = Path("data") if case.draws else base / "data"
    drawn = ("DATASET.NAME", "ShapesLT", "DATALOADER.CACHE", "off") if case.draws else ()
    more = ("OPTIM.MAX_EPOCH", "3", "MODEL.BACKBONE.NAME", "clip.pt", *drawn, *case.options)
    return arguments(root, case.trainer, Path("out"), *more)


def lay_out(base: Path, folder: Path, case: Case) -> None:
    """Make the folder that a run of the case starts in.

    Args:
        base: where `prepare` has written; its `warm` holds the caches of warm cases.
        folder: is made.
        case: the case.
    """
    folder.mkdir(parents=True)
    (folder / "clip.pt").symlink_to(base / "data" / "mine" / "clip.pt")
    if case.warm:
        shutil.copytree(base / "warm" / case.trainer, folder / "cache")


def run(folder: Path, words: Iterable[str], before: Callable[[], object] | None = None) -> int:
    """Run train.py in a process of its own, forked from this one, and wait for its end.

    Args:
        folder: where it works; what it prints goes to `console_of` the folder.
        words: of its command.
        before: is called in the new process before anything else.

    Returns:
        The exit status; the negative signal number if it was killed.
    """
    return wait_for(start(folder, words, console_of(folder), before))


def start(
    folder: Path, words: Iterable[str], console: Path, before: Callable[[], object] | None = None
) -> int:
    """Start train.py as `run` does, printing to the file `console`; returns its process number."""
    child = os.fork()
    if child == 0:
        _run_here(folder, list(words), console, before)
    return child


def wait_for(process: int) -> int:
    """Wait for a process of `start`; returns what `run` does."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _run_here(
    folder: Path, words: list[str], console: Path, before: Callable[[], object] | None
) -> None:
    status = 1
    try:
        os.chdir(folder)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        printed = os.open(console, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number in (1, 2):
            os.dup2(printed, number)
        sys.stdout, sys.stderr = (open(number, "w", 1, closefd=False) for number in (1, 2))
        sys.argv = ["train.py", *words]
        if before:
            before()
        run_command(lambda: train.main(words))
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def console_of(folder: Path) -> Path:
    """The file that holds what the last run in a folder printed."""
    return folder.with_name(f"{folder.name}.txt")


def contents(folder: Path) -> dict[str, str]:
    """Digests of all that a run has left, but for times, its place and what is appended to.

    Args:
        folder: that of `lay_out`.

    Returns:
        Relative path, with the part of it for checkpoints and results, to SHA-256.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() or path.is_symlink():
            found[name] = "a folder"
        elif path.name.startswith(_NOT_COMPARED):
            continue
        elif _CHECKPOINT.fullmatch(path.name):
            found |= _parts(name, _checkpoint(path))
        elif _SCORES.fullmatch(path.name):
            found |= _parts(name, _scores(path, folder))
        elif path.name == "results.json":
            found |= _parts(name, json.loads(path.read_text(encoding="utf-8")))
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _checkpoint(path: Path) -> Mapping[str, Any]:
    try:
        return torch.load(path, weights_only=True)
    except Exception as error:  # of several types: half a file
        return {"unreadable": repr(error)}


def _scores(path: Path, folder: Path) -> Mapping[str, Any]:
    """Saved scores, with the names of pictures as they are seen from the run's own folder."""
    try:
        scores = load_scores(path)
    except ValueError as error:
        return {"unreadable": repr(error)}
    names = [os.path.relpath(picture, folder) for picture in scores.paths]
    return scores._replace(paths=names)._asdict()


def _parts(name: str, content: Mapping[str, Any]) -> dict[str, str]:
    return {
        f"{name}: {key}": digest_of(value) for key, value in content.items() if key not in TIMES
    }


def digest_of(value: Any) -> str:  # noqa: ANN401 - what a checkpoint may hold
    """SHA-256 that two values share only if they are equal to the last bit, but for seconds."""
    return hashlib.sha256(_exact(value).encode()).hexdigest()


def _exact(value: Any) -> str:  # noqa: ANN401 - what a checkpoint may hold
    """Text that stands for a value in `digest_of`."""
    if isinstance(value, torch.Tensor):
        data = hashlib.sha256(value.contiguous().view(-1).view(torch.uint8).numpy()).hexdigest()
        return f"{value.dtype}{tuple(value.shape)}{data}"
    if isinstance(value, Mapping):
        inner = (f"{key!r}: {_exact(v)}" for key, v in value.items() if key not in TIMES)
        return f"{{{', '.join(inner)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_exact, value))}]"
    return repr(value)
