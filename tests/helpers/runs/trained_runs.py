"""Quick runs on the small set, each trained when a test first asks for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import train
from tests.helpers.sets.small_set import arguments, write_set

# What a method needs beside the small set's own options, as train.py's words.
_NEEDS = {
    "TaIDPT": ("DATASET.TEXT_AS_IMAGE", "True"),
    "CoCoOp": ("TRAINER.COCOOP.N_CTX", "2", "TRAINER.COCOOP.CTX_INIT", ""),
}
_FEW = ("OPTIM.MAX_EPOCH", "1", "OPTIM.WARMUP_EPOCH", "0", "TEST.SAVE_SCORES", "True")


class TrainedRuns:
    """Output folders of runs that several test files share; for reading.

    Args:
        new_folder: makes an empty folder of a name.
    """

    def __init__(self, new_folder: Callable[[str], Path]) -> None:
        self._new_folder = new_folder
        self._roots: dict[str, Path] = {}
        self._folders: dict[tuple[str, ...], Path] = {}

    def root(self, tower: str = "ViT") -> Path:
        """The small set beside a CLIP of a tower."""
        if tower not in self._roots:
            self._roots[tower] = self._new_folder(f"set_{tower}")
            write_set(self._roots[tower], tower)
        return self._roots[tower]

    def folder(self, trainer: str, *words: str, tower: str = "ViT") -> Path:
        """The output folder of a run, with further words of its train.py command."""
        key = (trainer, tower, *words)
        if key not in self._folders:
            output = self._new_folder(trainer)
            more = (*_FEW, *_NEEDS.get(trainer, ()), *words)
            train.main(arguments(self.root(tower), trainer, output, *more, tower=tower))
            self._folders[key] = output
        return self._folders[key]
