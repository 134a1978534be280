"""A run's log: what is printed goes to log.txt, too, with what matters first."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import TextIO

import torch
from dassl.utils import setup_logger
from yacs.config import CfgNode

from common.devices import device_name, run_device
from common.files import write_whole
from compat.bootstrap import dassl_banner

_NAME, _TIME = "log.txt", "-%Y-%m-%d-%H-%M-%S"  # as Dassl names them
_OF_LIBRARIES = (FutureWarning, DeprecationWarning, PendingDeprecationWarning)


class _Terminal:
    """Standard output, which stock Dassl's logger would close when it goes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def close(self) -> None:
        """Nothing."""


@contextlib.contextmanager
def logging_to(folder: str, evaluation: bool) -> Iterator[Path]:
    """Copy standard output to log.txt of a folder, as Dassl does, until the run is over.

    Yields the path of the log, which has the time in its name if there is an earlier one. In the
    end a run that has come to its end gets the name log.txt, by which result parsers find it; an
    earlier log then has the time in its name. An evaluation leaves the log of a training alone.

    Args:
        folder: OUTPUT_DIR.
        evaluation: whether nothing is trained.
    """
    terminal = sys.stdout
    sys.stdout = _Terminal(terminal)
    setup_logger(folder)
    log = sys.stdout.file
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _sorted_by(warnings.showwarning, log)
            yield Path(log.name)
    finally:
        sys.stdout.flush()
        sys.stdout = terminal
        log.close()
    if not (evaluation and Path(folder, "config.yaml").is_file()):
        _take_name(Path(log.name))


def _sorted_by(show: Callable[..., None], log: TextIO) -> Callable[..., None]:
    """A `warnings.showwarning` that leaves what libraries tell their authors to the log."""

    def shown(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, *more: object
    ) -> None:
        if issubclass(category, _OF_LIBRARIES):
            log.write(warnings.formatwarning(message, category, filename, lineno))
        else:
            show(message, category, filename, lineno, *more)

    return shown


def _take_name(path: Path) -> None:
    """Give the log of a finished run the name log.txt; an earlier one is copied away first."""
    first = path.with_name(_NAME)
    if path == first or not path.is_file():
        return
    dated = _NAME + time.strftime(_TIME, time.localtime(first.stat().st_mtime))
    names = (first.with_name(dated + (f"-{number}" if number else "")) for number in count())
    free = next(name for name in names if not name.exists())
    content = first.read_bytes()
    write_whole(free, lambda file: file.write(content))
    os.replace(path, first)


def header(cfg: CfgNode, files: Sequence[Path], evaluated: str | None = None) -> str:
    """The first lines of a log: what runs on what, how it was asked for, where things go.

    Args:
        cfg: the run's config.
        files: yaml files that it was put together from.
        evaluated: folder of the run that is evaluated; None for a training.
    """
    folder = Path(cfg.OUTPUT_DIR)
    config = folder / ("config.yaml" if evaluated is None else "config_eval.yaml")
    what = "Training" if evaluated is None else "Evaluation"
    device = device_name(run_device(cfg.USE_CUDA))
    return "\n".join(
        [
            f"{what}: {cfg.TRAINER.NAME} on {cfg.DATASET.NAME}, CLIP {cfg.MODEL.BACKBONE.NAME}",
            *([f"Run: {evaluated}"] if evaluated else []),
            f"Seed: {cfg.SEED}",
            f"Command: {shlex.join(sys.argv)}",
            f"Config files: {', '.join(map(str, files)) or 'none'}",
            f"Output: {folder} (the whole config: {config.name})",
            f"Device: {device}, torch {torch.__version__}",
            dassl_banner(),
        ]
    )
