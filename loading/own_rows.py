"""Batches of which each rank decodes its share: its images, beside what is known of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import Sampler

from common.ranks import share, world_size
from loading.samplers import ImageDataset, Sample

BatchSampler = Sampler[list[Sample]]


def shared_out(
    make: Callable[[BatchSampler], Iterable[dict[str, Any]]],
    images: ImageDataset,
    sampler: BatchSampler,
) -> Iterable[dict[str, Any]]:
    """A loader of a sampler's batches; with several ranks, see `OwnRowsLoader`.

    Args:
        make: makes the loader of a sampler's batches.
        images: that it decodes.
        sampler: of whole batches.
    """
    if world_size() == 1:
        return make(sampler)
    return OwnRowsLoader(make(OwnRowsSampler(sampler)), images, sampler)


class OwnRowsSampler(Sampler[list[Sample]]):
    """Of each batch of another sampler, the rows that are this rank's share.

    Args:
        whole: the other sampler.
    """

    def __init__(self, whole: BatchSampler) -> None:
        self.whole = whole

    def __len__(self) -> int:
        return len(self.whole)

    def __iter__(self) -> Iterator[list[Sample]]:
        for samples in self.whole:
            yield samples[share(len(samples))]


class OwnRowsLoader:
    """Batches with the images of this rank's rows, and labels, places and paths of all rows.

    Args:
        loader: of this rank's rows.
        images: that it decodes.
        whole: the sampler of whole batches, which gives the same batches again and again until its
            epoch is another.
    """

    def __init__(
        self, loader: Iterable[dict[str, Any]], images: ImageDataset, whole: BatchSampler
    ) -> None:
        self.loader, self.images, self.whole = loader, images, whole
        self._labels = images.labels()  # [N, C], or [N]

    def __len__(self) -> int:
        return len(self.whole)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        items = self.images.items
        for samples, batch in zip(self.whole, self.loader, strict=True):
            index = torch.tensor([sample.index for sample in samples])
            yield {
                "img": batch["img"],
                "label": self._labels[index],
                "index": index,
                "sample_seed": torch.tensor([sample.seed for sample in samples]),
                "impath": [items[sample.index].impath for sample in samples],
            }
