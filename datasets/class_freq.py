"""A reader of the published `class_freq.pkl` that never executes what the file asks for.

The file (Wu et al., "Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed
Datasets", ECCV 2020) is a pickled dictionary; `class_freq` holds the training images per class.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets.list_files import DataFileError, Problem

_NUMBER = re.compile(r"[iuf][248]|[iub]1")


def read_class_freq(path: str | Path) -> np.ndarray:
    """Read the number of training images per class.

    Args:
        path: A pickle of a dictionary with key `class_freq`, made of numbers, texts, lists,
            dictionaries and numeric numpy arrays alone.

    Returns:
        Training images per class, int64 [C].

    Raises:
        DataFileError: The file is damaged, asks for anything but numbers, or holds no counts.
        OSError: The file cannot be read.
    """
    content = Path(path).read_bytes()
    try:
        _check_memo(content)
        table = _NumbersOnly(io.BytesIO(content)).load()
        counts = np.asarray(_value(table["class_freq"]))
    # A damaged pickle may raise nearly anything, and it all means the same to the user.
    except Exception as error:
        rule = (
            f"not a pickle of numbers with the key 'class_freq' ({error or type(error).__name__})"
        )
        raise DataFileError(path, [Problem(0, "", rule)]) from error
    if counts.ndim != 1 or counts.dtype.kind not in "iu" or (counts < 0).any():
        rule = f"'class_freq' must be a vector of integers >= 0, got {counts.dtype} {counts.shape}"
        raise DataFileError(path, [Problem(0, "", rule)])
    return counts.astype(np.int64)


def check_class_freq(
    path: str | Path, names: Sequence[str], counted: np.ndarray, train_list: str
) -> None:
    """Compare the published counts with those of a training list.

    Args:
        path: The published file.
        names: The C class names.
        counted: Images of each class in the training list, int64 [C].
        train_list: Name of that list, for the message.

    Raises:
        DataFileError: They differ, or the file is refused by `read_class_freq`.
        OSError: The file cannot be read.
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


class _NumbersOnly(pickle.Unpickler):
    """An unpickler for which numpy's names mean the inert stand-ins below, and no others exist."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return _reconstruct
        known = {
            ("numpy", "ndarray"): _Array,
            ("numpy", "dtype"): _Dtype,
            ("_codecs", "encode"): _encode,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is refused")
        return known[module, name]


class _Dtype:
    """Stands for numpy.dtype; numbers only."""

    def __init__(self, code: str, align: object = False, copy: object = True) -> None:
        if not _NUMBER.fullmatch(code):
            raise pickle.UnpicklingError(f"arrays of type {code!r} are refused")
        self.code = code
        self.order = "="

    def __setstate__(self, state: tuple) -> None:
        if state[1] not in ("<", ">", "=", "|"):
            raise pickle.UnpicklingError(f"byte order {state[1]!r} is unknown")
        self.order = state[1]


class _Array:
    """Stands for numpy.ndarray; `value` is a copy made by numpy from plain bytes."""

    def __setstate__(self, state: tuple) -> None:
        _version, shape, dtype, is_fortran, content = state
        flat = np.frombuffer(content, np.dtype(dtype.order + dtype.code))
        self.value = flat.reshape(shape, order="F" if is_fortran else "C")


def _reconstruct(subtype: object, shape: object, code: object) -> _Array:
    if subtype is not _Array:
        raise pickle.UnpicklingError("only plain arrays can be read")
    return _Array()


def _encode(text: str, encoding: str) -> bytes:
    """Stand for the way in which old pickles spell bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r} is refused")
    return text.encode("latin1")


def _value(item: object) -> object:
    return item.value if isinstance(item, _Array) else item


def _check_memo(content: bytes) -> None:
    """Refuse memo numbers beyond the file's length, for which Python would fill the memory."""
    for opcode, argument, _position in pickletools.genops(content):
        if "PUT" in opcode.name and int(argument) > len(content):
            raise pickle.UnpicklingError(f"memo number {argument} is beyond the file's length")
