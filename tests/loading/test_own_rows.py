"""Loaders of which each rank decodes its share of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from loading import own_rows
from loading.own_rows import OwnRowsLoader, shared_out
from loading.samplers import EpochBatchSampler, ImageDataset

SIZE, BATCH = 11, 4


def _images(decoded: list[str]) -> ImageDataset:
    labels = torch.eye(SIZE).numpy()
    items = [SimpleNamespace(impath=str(i), label=labels[i], domain=0) for i in range(SIZE)]

    def read(path: str) -> float:
        decoded.append(path)
        return float(path)

    return ImageDataset(items, read, lambda number: torch.full((3, 2, 2), number))


def _batches(
    monkeypatch: pytest.MonkeyPatch, rank: int, ranks: int, decoded: list[str]
) -> Sequence[dict[str, Any]]:
    """Batches of a rank, of an epoch that is not the first."""

    def share(count: int) -> slice:
        return slice(*(count * r // ranks for r in (rank, rank + 1)))

    monkeypatch.setattr(own_rows, "world_size", lambda: ranks)
    monkeypatch.setattr(own_rows, "share", share)
    images, sampler = _images(decoded), EpochBatchSampler(SIZE, BATCH, seed=3)
    loader = shared_out(lambda s: DataLoader(images, batch_sampler=s), images, sampler)
    sampler.epoch = 2
    assert isinstance(loader, OwnRowsLoader) == (ranks > 1)
    assert len(loader) == 3
    return list(loader)


def test_ranks_decode_what_one_process_does(monkeypatch: pytest.MonkeyPatch) -> None:
    alone: list[str] = []
    whole = _batches(monkeypatch, 0, 1, alone)
    decoded: list[list[str]] = [[], [], []]
    parts = [_batches(monkeypatch, rank, 3, decoded[rank]) for rank in range(3)]
    assert sorted(sum(decoded, [])) == sorted(alone)
    for number, batch in enumerate(whole):
        own = [part[number] for part in parts]
        assert torch.equal(torch.cat([one["img"] for one in own]), batch["img"])
        for one in own:
            assert one["impath"] == batch["impath"]
            for name in ("label", "index", "sample_seed"):
                assert torch.equal(one[name], batch[name])
                assert one[name].dtype == batch[name].dtype
