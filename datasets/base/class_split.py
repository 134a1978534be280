"""Which classes a run keeps, and of which of them training sees the labels.

A file of rows `name seen` and `name unseen`; classes that it does not name are left out. Rows that
begin with # are comments.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.choices import hint
from datasets.files.list_files import name_in_words
from datasets.files.text_rows import SHOWN_PROBLEMS, DataFileError, Problem, iter_rows

TABLES = Path(__file__).resolve().parents[1] / "class_splits"
_WORDS = ("seen", "unseen")


@dataclass(frozen=True)
class ClassSplit:
    """The K classes that are kept.

    Attributes:
        kept: their ids, ascending.
        seen: of each, whether training sees its labels.
    """

    kept: tuple[int, ...]
    seen: tuple[bool, ...]


def read_class_split(name: str, folder: str, names: Sequence[str]) -> ClassSplit:
    """Read a split of classes.

    Args:
        name: of one of ours (datasets/class_splits), or of a file, with or without its suffix .txt.
        folder: that the path of a file is relative to.
        names: the C class names, by id.

    Raises:
        FileNotFoundError: there is neither a split of ours nor a file of that name.
        DataFileError: a row names an unknown class, repeats one, or ends with another word; or no
            class is seen.
        OSError: the file cannot be read.
    """
    path = _file(name, folder)
    ids = {name_in_words(known): index for index, known in enumerate(names)}
    problems: list[Problem] = []
    is_seen: dict[int, bool] = {}
    for line, row in iter_rows(path, problems):
        if row.startswith("#"):
            continue
        words = row.split()
        label = name_in_words(" ".join(words[:-1]))
        if words[-1] not in _WORDS:
            rule = f"expected a class and seen or unseen.{hint(words[-1], _WORDS)}"
            problems.append(Problem(line, row, rule))
        elif label not in ids:
            close = hint(label, ids) if len(problems) < SHOWN_PROBLEMS else ""  # takes a while
            problems.append(Problem(line, row, f"no class is {label!r}.{close}"))
        elif ids[label] in is_seen:
            problems.append(Problem(line, row, "the class is named before"))
        else:
            is_seen[ids[label]] = words[-1] == "seen"
    if not problems and not any(is_seen.values()):
        problems.append(Problem(0, "", "no class is seen, so there is nothing to train on"))
    if problems:
        raise DataFileError(path, problems)
    kept = tuple(sorted(is_seen))
    return ClassSplit(kept, tuple(is_seen[index] for index in kept))


def _file(name: str, folder: str) -> Path:
    ours = {path.stem: path for path in sorted(TABLES.glob("*.txt"))}
    if name in ours:
        return ours[name]
    path = Path(folder, os.path.expanduser(name))
    for place in (path, path.with_name(f"{path.name}.txt")):
        if place.is_file():
            return place
    advice = hint(name, ours) or f" Splits of this project: {', '.join(ours)}."
    raise FileNotFoundError(f"DATASET.CLASS_SPLIT: there is no file {path}.{advice}")
