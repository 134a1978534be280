"""Rows of features that stay in files, read a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class MappedRows:
    """One kind of feature of V views of N pictures, from memory-mapped shards.

    A batch touches its own rows alone, so a run takes the same memory however many pictures there
    are; what the system keeps of the files, it gives up when memory is short.

    Args:
        shards: [V, n, ...] each.
        shard: which of them holds a picture [N].
        row: in which row [N].
    """

    device = torch.device("cpu")

    def __init__(self, shards: Sequence[Tensor], shard: np.ndarray, row: np.ndarray) -> None:
        self._shards, self._shard, self._row = shards, shard, row
        views, _, *rest = shards[0].shape
        self.shape = torch.Size([views, len(row), *rest])

    def rows(self, index: np.ndarray, view: np.ndarray) -> Tensor:
        """Features [B, ...] of pictures by their places [B], under views [B]."""
        shard, row = self._shard[index], self._row[index]
        found = torch.empty((len(index), *self.shape[2:]), dtype=self._shards[0].dtype)
        for number in np.unique(shard):
            members = np.flatnonzero(shard == number)
            source = self._shards[number]
            where = (torch.from_numpy(part[members].astype(np.int64)) for part in (view, row))
            found[torch.from_numpy(members)] = source[tuple(where)]
        return found
