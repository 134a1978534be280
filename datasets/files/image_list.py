"""The images of a list, of which ten million take some 0.7 GB: paths in one buffer, ids in another.

To whoever indexes it, it is a sequence of `ListEntry`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, overload

import numpy as np

from common.sparse_targets import ClassLists

_LONGEST = 4096  # bytes of a path, as systems allow; longer ones are hashed piece by piece
# Sums of bytes times random odd numbers, modulo 2**64, hardly ever agree for two paths by chance.
_WEIGHTS = np.random.default_rng(7).integers(0, 1 << 63, _LONGEST, np.uint64) * np.uint64(2) + (
    np.uint64(1)
)


class ListEntry(NamedTuple):
    """One image of a list.

    Attributes:
        path: picture, relative to the folder of the data set.
        labels: ids of the classes present, in the order of the file; may be empty.
        line: line number in the list, counted from 1.
    """

    path: str
    labels: tuple[int, ...]
    line: int


class Paths(Sequence[str]):
    """N paths in one buffer.

    Args:
        text: UTF-8, one path after the other, uint8.
        starts: where each path begins, and the end: int64 [N + 1].
    """

    def __init__(self, text: np.ndarray, starts: np.ndarray) -> None:
        self.text, self.starts = text, starts

    @classmethod
    def of(cls, paths: Iterable[str]) -> Paths:
        """Paths out of texts."""
        encoded = [path.encode("utf-8", "surrogateescape") for path in paths]
        starts = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum([len(path) for path in encoded], out=starts[1:])
        return cls(np.frombuffer(b"".join(encoded), dtype=np.uint8), starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """A path, or a list of some."""
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        text = self.text[self.starts[place] : self.starts[place + 1]].tobytes()
        return text.decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        return (self[place] for place in range(len(self)))

    def take(self, index: np.ndarray) -> Paths:
        """Some paths, by their places [B]."""
        text = ClassLists(self.starts, self.text)  # lists of bytes instead of ids
        sizes = self.starts[index + 1] - self.starts[index]
        starts = np.zeros(len(index) + 1, dtype=np.int64)
        np.cumsum(sizes, out=starts[1:])
        return Paths(text.entries(index)[1], starts)

    def hashes(self) -> np.ndarray:
        """A number for each path in its normal form, which "a//b" shares with "a/b": uint64 [N]."""
        found, step = [], 1 << 13
        for start in range(0, len(self), step):
            starts = self.starts[start : start + step + 1]
            found.append(_hashes(self.text[starts[0] : starts[-1]], starts - starts[0]))
        return np.concatenate(found) if found else np.empty(0, np.uint64)


class ImageList(Sequence[ListEntry]):
    """N images of a list.

    Args:
        paths: their paths.
        labels: the classes present in each.
        lines: line numbers, int64 [N].
    """

    def __init__(self, paths: Paths, labels: ClassLists, lines: np.ndarray) -> None:
        self.paths, self.labels, self.lines = paths, labels, lines

    @classmethod
    def of(cls, entries: Iterable[ListEntry]) -> ImageList:
        """A list of given images."""
        entries = list(entries)
        lines = np.array([entry.line for entry in entries], dtype=np.int64)
        labels = ClassLists.of([entry.labels for entry in entries])
        return cls(Paths.of(entry.path for entry in entries), labels, lines)

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> ListEntry: ...
    @overload
    def __getitem__(self, index: slice) -> ImageList: ...
    def __getitem__(self, index: int | slice) -> ListEntry | ImageList:
        """An image, or a list of some."""
        if isinstance(index, slice):
            return self.take(np.arange(*index.indices(len(self))))
        place = range(len(self))[index]
        starts, ids = self.labels
        labels = tuple(ids[starts[place] : starts[place + 1]].tolist())
        return ListEntry(self.paths[place], labels, int(self.lines[place]))

    def __iter__(self) -> Iterator[ListEntry]:
        return (self[place] for place in range(len(self)))

    def take(self, index: np.ndarray) -> ImageList:
        """Some images, by their places [B] or by truth values [N]."""
        index = np.flatnonzero(index) if index.dtype == bool else index
        return ImageList(self.paths.take(index), self.labels.take(index), self.lines[index])

    def repeated(self) -> bool:
        """Whether two paths mean one file."""
        hashes = self.paths.hashes()
        order = np.argsort(hashes, kind="stable")
        ranked = hashes[order]
        last = (ranked[1:] != ranked[:-1]).nonzero()[0] + 1
        sizes = np.diff(np.concatenate([[0], last, [len(ranked)]]))
        for start in np.concatenate([[0], last])[sizes > 1]:
            alike = order[start : start + np.searchsorted(ranked[start:], ranked[start], "right")]
            if len({posixpath.normpath(self.paths[place]) for place in alike}) < len(alike):
                return True
        return False


def join(parts: Sequence[ImageList]) -> ImageList:
    """The images of several lists, one after the other."""
    if not parts:
        return ImageList.of(())
    return ImageList(
        Paths(*_end_to_end([(part.paths.starts, part.paths.text) for part in parts])[::-1]),
        ClassLists(*_end_to_end([part.labels for part in parts])),
        np.concatenate([part.lines for part in parts]),
    )


def _end_to_end(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Starts and contents of ragged lists, one after the other."""
    ends = np.cumsum([starts[-1] for starts, _ in parts])
    starts = [starts[1:] + end - starts[-1] for (starts, _), end in zip(parts, ends, strict=True)]
    return np.concatenate([[0], *starts]), np.concatenate([content for _, content in parts])


def _hashes(text: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """As `Paths.hashes`, of paths that begin at `starts` [N + 1]."""
    first, sizes = starts[:-1], np.diff(starts)
    weights = _weights(np.arange(len(text)) - np.repeat(first, sizes))
    hashes = np.zeros(len(first), dtype=np.uint64)
    filled = sizes > 0
    hashes[filled] = np.add.reduceat(text * weights, first[filled]) if filled.any() else 0
    slash, dot = text == ord("/"), text == ord(".")
    odd = np.flatnonzero(slash[:-1] & (slash | dot)[1:])  # of "//", "/." and "/.."
    rows = np.searchsorted(first, odd, side="right") - 1
    edges = [first[filled] for _ in range(2)]
    edges[1] = edges[1] + sizes[filled] - 1
    at_edges = np.flatnonzero(filled)[dot[edges[0]] | slash[edges[0]] | slash[edges[1]]]
    for row in np.union1d(rows, at_edges):
        own = text[starts[row] : starts[row + 1]].tobytes().decode("utf-8", "surrogateescape")
        normal = posixpath.normpath(own).encode("utf-8", "surrogateescape")
        part = np.frombuffer(normal, dtype=np.uint8)
        hashes[row] = (part * _weights(np.arange(len(part)))).sum(dtype=np.uint64)
    return hashes


def _weights(place: np.ndarray) -> np.ndarray:
    """Of bytes by their places in their path, uint64."""
    if place.max(initial=0) < _LONGEST:
        return _WEIGHTS[place]
    return _WEIGHTS[place % _LONGEST] + (place // _LONGEST).astype(np.uint64)
