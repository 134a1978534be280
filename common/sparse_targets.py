"""Multi-label targets of many images, kept as the ids of their classes.

A matrix of a million images and 10,000 classes takes 40 GB as floats; the three or so labels that
an image has take 20 bytes. Rows are written out when they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class ClassLists(NamedTuple):
    """The classes of N images, one list after the other.

    Attributes:
        starts: where each image's list begins in `ids`, and the end: int64 [N + 1].
        ids: int32 [K].
    """

    starts: np.ndarray
    ids: np.ndarray

    @classmethod
    def of(cls, rows: Iterable[Sequence[int]]) -> ClassLists:
        """The lists of some rows of ids."""
        rows = list(rows)
        starts = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=starts[1:])
        ids = np.fromiter(chain.from_iterable(rows), dtype=np.int32, count=starts[-1])
        return cls(starts, ids)

    def sizes(self) -> np.ndarray:
        """Classes of each image, int64 [N]."""
        return np.diff(self.starts)

    def classes(self, image: int) -> np.ndarray:
        """The classes of one image."""
        return self.ids[self.starts[image] : self.starts[image + 1]]

    def entries(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images by their places [B]: of each entry the row, 0 to B - 1, and the class."""
        sizes = self.starts[index + 1] - self.starts[index]
        rows = np.repeat(np.arange(len(index)), sizes)
        first = np.repeat(self.starts[index] - (np.cumsum(sizes) - sizes), sizes)
        return rows, self.ids[first + np.arange(len(rows))]

    def take(self, index: np.ndarray) -> ClassLists:
        """The lists of some images, by their places [B]."""
        rows, ids = self.entries(index)
        return self._of_entries(rows, ids, len(index))

    def renamed(self, columns: np.ndarray) -> ClassLists:
        """The same images with new ids, by the old ones; those below 0 are left out."""
        rows = np.repeat(np.arange(len(self.starts) - 1), self.sizes())
        ids = columns[self.ids]
        return self._of_entries(rows[ids >= 0], ids[ids >= 0], len(self.starts) - 1)

    @classmethod
    def _of_entries(cls, rows: np.ndarray, ids: np.ndarray, images: int) -> ClassLists:
        starts = np.zeros(images + 1, dtype=np.int64)
        np.cumsum(np.bincount(rows, minlength=images), out=starts[1:])
        return cls(starts, ids.astype(np.int32, copy=False))


class SparseTargets:
    """Targets [N, C]: 1 present, 0 absent, -1 unknown. Indexed, it gives tensors as a matrix does.

    Args:
        present: of each image, the classes that are present.
        num_classes: C.
        unknown: of each image, the classes that are neither; None: none are.
        hidden: classes that are unknown in every image.
        device: where rows are given.
    """

    def __init__(
        self,
        present: ClassLists,
        num_classes: int,
        unknown: ClassLists | None = None,
        hidden: Sequence[int] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        self.present, self.unknown, self.num_classes = present, unknown, num_classes
        self.hidden = np.array(hidden, dtype=np.int64)
        self.device = torch.device(device)

    def __len__(self) -> int:
        return len(self.present.starts) - 1

    @classmethod
    def from_matrix(cls, targets: np.ndarray) -> SparseTargets:
        """The targets of a matrix [N, C] in which 1 is present and all else is absent."""
        lists = ClassLists.of([np.flatnonzero(row == 1) for row in np.asarray(targets)])
        return cls(lists, np.shape(targets)[1])

    @property
    def shape(self) -> torch.Size:
        """[N, C], as of a tensor."""
        return torch.Size([len(self), self.num_classes])

    def to(self, device: torch.device | str) -> SparseTargets:
        """The same targets, whose rows are given on a device."""
        return SparseTargets(self.present, self.num_classes, self.unknown, self.hidden, device)

    def __getitem__(self, index: int | Sequence[int] | np.ndarray | Tensor) -> Tensor:
        """Targets [C] of one image, or [B, C] of several, float32."""
        if isinstance(index, Tensor):
            index = index.cpu().numpy()
        places = np.atleast_1d(np.asarray(index, dtype=np.int64))
        places = np.where(places < 0, places + len(self), places)
        rows = torch.from_numpy(self._written(places)).to(self.device)
        return rows[0] if np.ndim(index) == 0 else rows

    def _written(self, places: np.ndarray) -> np.ndarray:
        rows = np.zeros((len(places), self.num_classes), dtype=np.float32)
        rows[self.present.entries(places)] = 1.0
        if self.unknown is not None:
            rows[self.unknown.entries(places)] = -1.0
        rows[:, self.hidden] = -1.0
        return rows

    def dense(self) -> np.ndarray:
        """The whole matrix, float32 [N, C]."""
        return self._written(np.arange(len(self)))

    def take(self, index: np.ndarray) -> SparseTargets:
        """Targets of some images, by their places [B]."""
        unknown = None if self.unknown is None else self.unknown.take(index)
        present = self.present.take(index)
        return SparseTargets(present, self.num_classes, unknown, self.hidden, self.device)

    def with_unknown(self, unknown: np.ndarray) -> SparseTargets:
        """The same targets where truth values [N, C] do not say that they are unknown."""
        found = unknown.copy()
        if self.unknown is not None:
            found[self.unknown.entries(np.arange(len(self)))] = True
        lists = ClassLists.of([np.flatnonzero(row) for row in found])
        return SparseTargets(self.present, self.num_classes, lists, self.hidden, self.device)

    def known_entries(self) -> tuple[np.ndarray, np.ndarray]:
        """Image and class of each label that is present and not unknown."""
        rows, ids = self.present.entries(np.arange(len(self)))
        keep = ~np.isin(ids, self.hidden)
        if self.unknown is not None:
            others = self.unknown.entries(np.arange(len(self)))
            codes = (r.astype(np.int64) * self.num_classes + c for r, c in ((rows, ids), others))
            keep &= ~np.isin(*codes)
        return rows[keep], ids[keep]

    def num_known(self) -> int:
        """Labels that are known, present or absent: N C where all are."""
        unknown = len(self) * len(self.hidden)
        if self.unknown is not None:
            unknown += np.count_nonzero(~np.isin(self.unknown.ids, self.hidden))
        return len(self) * self.num_classes - unknown

    def counts(self) -> np.ndarray:
        """Images in which each class is present, int64 [C]."""
        return np.bincount(self.known_entries()[1], minlength=self.num_classes)

    def sizes(self) -> np.ndarray:
        """Classes that are present in each image, int64 [N]."""
        return np.bincount(self.known_entries()[0], minlength=len(self))

    def members(self) -> list[np.ndarray]:
        """Of each class, the images in which it is present, ascending."""
        rows, ids = self.known_entries()
        order = np.argsort(ids, kind="stable")
        return np.split(rows[order], np.cumsum(self.counts())[:-1])
