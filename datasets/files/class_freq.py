"""A reader of the published `class_freq.pkl` that never executes what the file asks for.

The file (Wu et al., "Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed
Datasets", ECCV 2020) is a pickled dictionary; `class_freq` holds the training images per class.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.files import read_whole
from common.readers.pickles.arrays import ARRAYS
from common.readers.pickles.machine import read_pickle
from datasets.files.text_rows import DataFileError, Problem


def read_class_freq(path: str | Path) -> np.ndarray:
    """Read the number of training images per class.

    Args:
        path: A pickle of a dictionary with key `class_freq`, made of numbers, texts, lists,
            dictionaries and numeric numpy arrays alone.

    Returns:
        Training images per class, int64 [C].

    Raises:
        DataFileError: the file is damaged, asks for anything but numbers, or holds no counts.
        OSError: the file cannot be read.
    """
    content = read_whole(path)
    try:
        table = read_pickle(io.BytesIO(content), len(content), ARRAYS)
    except pickle.UnpicklingError as error:
        rule = f"not a pickle of numbers with the key 'class_freq' ({error})"
        raise DataFileError(path, [Problem(0, "", rule)]) from error
    counts = table.get("class_freq") if isinstance(table, dict) else None
    if isinstance(counts, list) and all(_is_count(item) for item in counts):
        counts = np.array(counts, dtype=np.int64)
    if not isinstance(counts, np.ndarray):
        rule = "it holds no array of numbers, or list of counts, with the key 'class_freq'"
        raise DataFileError(path, [Problem(0, "", rule)])
    if counts.ndim != 1 or counts.dtype.kind not in "iu" or (counts < 0).any():
        rule = f"'class_freq' must be a vector of integers >= 0, got {counts.dtype} {counts.shape}"
        raise DataFileError(path, [Problem(0, "", rule)])
    return counts.astype(np.int64)


def check_class_freq(
    path: str | Path, names: Sequence[str], counted: np.ndarray, train_list: str
) -> None:
    """Compare the published counts with those of a training list.

    Args:
        path: the published file.
        names: the C class names.
        counted: images of each class in the training list, int64 [C].
        train_list: name of that list, for the message.

    Raises:
        DataFileError: they differ, or the file is refused by `read_class_freq`.
        OSError: the file cannot be read.
    """
    published = read_class_freq(path)
    if len(published) != len(names):
        problems = [Problem(0, "", f"it has {len(published)} counts for {len(names)} classes")]
    else:
        problems = [
            Problem(0, name, f"{published[c]} published, {counted[c]} in the training list")
            for c, name in enumerate(names)
            if published[c] != counted[c]
        ]
    if problems:
        raise DataFileError(
            path,
            problems,
            f"{train_list} is not the published list, or this file belongs to another one; remove "
            "this file to go by the list.",
        )


def _is_count(item: object) -> bool:
    return type(item) is int and 0 <= item < 1 << 63
