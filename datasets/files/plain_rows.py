"""Many plain rows `path id id ...` of an image list at once.

A row by itself takes Python eight microseconds. Here all rows of a piece of the file are cut with a
few passes of NumPy over its bytes. What is not plain is left to the reader of single rows.
"""

from __future__ import annotations

import numpy as np

from common.sparse_targets import ClassLists
from datasets.files.image_list import ImageList, Paths

_DIGITS = 9  # of an id at most
_ENDS_OF_SUFFIXES = np.frombuffer(b"gGpPfFmM2", dtype=np.uint8)  # of .jpg, .bmp, .tif, .pgm, .jp2


def plain_rows(content: bytes, num_classes: int, first_line: int) -> ImageList | None:
    """The images of a piece of a list.

    Args:
        content: whole rows, the last one ended, too.
        num_classes: C.
        first_line: number of the first row.

    Returns:
        None where a row may be wrong, or have a blank in its path: a control character, something
        other than UTF-8, a word behind the first that is no id in 0..C-1, an id that comes twice,
        or a comma behind what may be a suffix.
    """
    text = np.frombuffer(content, dtype=np.uint8)
    ended = text == ord("\n")
    gap = (text == ord(" ")) | (text == ord("\t")) | (text == ord("\r")) | ended
    returns = np.flatnonzero(text == ord("\r"))
    if ((text < ord(" ")) & ~gap).any() or not ended[(returns + 1).clip(max=len(text) - 1)].all():
        return None
    if not _is_utf8(content) or _has_comma(text):
        return None
    edges = np.flatnonzero(gap[1:] != gap[:-1]) + 1
    edges = edges if gap[0] else np.concatenate([[0], edges])
    starts, ends = edges[::2], edges[1::2]  # of all words
    row = np.searchsorted(np.flatnonzero(ended), starts)
    is_path = np.ones(len(starts), dtype=bool)
    is_path[1:] = row[1:] != row[:-1]
    ids = _ids(text, starts[~is_path], ends[~is_path], num_classes)
    if ids is None or _comes_twice(row[~is_path], ids, num_classes):
        return None
    firsts = np.flatnonzero(is_path)
    sizes = np.diff(firsts, append=len(starts)) - 1
    labels = ClassLists(np.concatenate([[0], np.cumsum(sizes)]), ids)
    paths = _cut(text, starts[firsts], ends[firsts])
    return ImageList(paths, labels, first_line + row[firsts])


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _has_comma(text: np.ndarray) -> bool:
    """Whether a comma or semicolon stands behind what may be the end of a suffix."""
    commas = np.flatnonzero((text == ord(",")) | (text == ord(";")))
    return bool(np.isin(text[commas - 1], _ENDS_OF_SUFFIXES).any())


def _ids(
    text: np.ndarray, starts: np.ndarray, ends: np.ndarray, num_classes: int
) -> np.ndarray | None:
    """The numbers that words are, int32; None where one is none in 0..C-1."""
    sizes = ends - starts
    if len(sizes) == 0:
        return np.empty(0, dtype=np.int32)
    if sizes.max() > _DIGITS:
        return None
    ids = np.zeros(len(starts), dtype=np.int64)
    for place in range(sizes.max()):
        there = np.flatnonzero(sizes > place)
        digit = text[starts[there] + place] - ord("0")  # what lies below wraps to above 9
        if (digit > 9).any():
            return None
        ids[there] = 10 * ids[there] + digit
    return ids.astype(np.int32) if (ids < num_classes).all() else None


def _comes_twice(row: np.ndarray, ids: np.ndarray, num_classes: int) -> bool:
    """Whether a row has an id twice; most rows have them in order, which is quick to see."""
    if not ((row[1:] == row[:-1]) & (ids[1:] <= ids[:-1])).any():
        return False
    codes = np.sort(row * num_classes + ids)
    return bool((codes[1:] == codes[:-1]).any())


def _cut(text: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> Paths:
    sizes = ends - starts
    places = np.concatenate([[0], np.cumsum(sizes)])
    source = np.repeat(starts - places[:-1], sizes) + np.arange(places[-1])
    return Paths(text[source], places)
