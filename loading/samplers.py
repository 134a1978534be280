"""Batch samplers: which images, under which views, in which order.

Everything random about an epoch (its order, its flips, its other augmentations) is a function of
the seed and the epoch alone. So a resumed run repeats the uninterrupted one, the number of workers
changes nothing, and cached features see the very flips that decoding would have seen.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler, default_collate

from common.items import impaths_of, targets_of
from common.sparse_targets import SparseTargets
from loading.images import PictureError

PLAIN, FLIPPED = 0, 1  # the views of an image under a horizontal flip


class Item(Protocol):
    """What a data set lists; Dassl's Datum is one."""

    impath: str
    label: Any
    domain: int


@dataclass(frozen=True)
class Sample:
    """One training example: image index, view, and a seed for everything else random."""

    index: int
    view: int = PLAIN
    seed: int = 0


class EpochBatchSampler(Sampler[list[Sample]]):
    """Random batches of samples; the same for the same seed and epoch.

    The last, smaller batch is kept. Set `epoch` before iterating.

    Args:
        size: N, the number of images.
        batch_size: images a batch.
        seed: the run's seed.
        flip: probability of the flipped view.
        views: K, how many fixed views of each image an epoch picks from; 0: plain and flipped.
    """

    def __init__(
        self, size: int, batch_size: int, seed: int, flip: float = 0.0, views: int = 0
    ) -> None:
        self.size, self.batch_size, self.seed, self.flip = size, batch_size, seed, flip
        self.views = views
        self.epoch = 0

    def __len__(self) -> int:
        return -(-self.size // self.batch_size)

    def __iter__(self) -> Iterator[list[Sample]]:
        # SeedSequence mixes both numbers well: seed 1, epoch 2 has nothing of seed 2, epoch 1.
        rng = np.random.default_rng([self.seed, self.epoch])
        order = self.order(rng)
        if self.views:
            views = rng.integers(0, self.views, self.size)
        else:
            views = rng.random(self.size) < self.flip
        seeds = rng.integers(0, 2**31, self.size)
        for start in range(0, self.size, self.batch_size):
            rows = (
                column[start : start + self.batch_size].tolist() for column in (order, views, seeds)
            )
            yield [Sample(index, int(view), seed) for index, view, seed in zip(*rows, strict=True)]

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Image indices of an epoch: each once, shuffled."""
        return rng.permutation(self.size)


class SequentialBatchSampler(Sampler[list[Sample]]):
    """Every image once, without augmentation, in list order; for evaluation and caching."""

    def __init__(self, size: int, batch_size: int) -> None:
        self.size, self.batch_size = size, batch_size

    def __len__(self) -> int:
        return -(-self.size // self.batch_size)

    def __iter__(self) -> Iterator[list[Sample]]:
        for start in range(0, self.size, self.batch_size):
            yield [Sample(i) for i in range(start, min(start + self.batch_size, self.size))]


class AllViewsSampler(SequentialBatchSampler):
    """K random views of images by their places, all first views first; for caching random views.

    A view's seed depends on its number and the image's place alone, so all runs see the same views.
    """

    def __init__(self, places: Sequence[int], batch_size: int, views: int) -> None:
        super().__init__(len(places), batch_size)
        self.places, self.views = places, views

    def __len__(self) -> int:
        return self.views * super().__len__()

    def __iter__(self) -> Iterator[list[Sample]]:
        for view in range(self.views):
            # The first numbers do not depend on how many follow.
            seeds = np.random.default_rng(view).integers(0, 2**31, max(self.places, default=-1) + 1)
            for samples in super().__iter__():
                places = [int(self.places[sample.index]) for sample in samples]
                yield [Sample(place, view, int(seeds[place])) for place in places]


class ImageDataset(Dataset):
    """PyTorch data set of decoded, transformed images, with the keys of Dassl's batches.

    Args:
        items: what the data set lists.
        read: path to PIL image.
        transform: PIL image to tensor [3, H, W].
        augmented: whether `transform` uses random numbers; they then come from the sample's seed.
    """

    def __init__(
        self,
        items: Sequence[Item],
        read: Callable[[str], Any],
        transform: Callable[[Any], Tensor],
        augmented: bool = False,
    ) -> None:
        self.items, self.read, self.transform, self.augmented = items, read, transform, augmented

    def __len__(self) -> int:
        return len(self.items)

    def paths(self) -> Sequence[str]:
        """The N pictures' files."""
        return impaths_of(self.items)

    def labels(self) -> Tensor | SparseTargets:
        """Targets [N, C], or class indices [N], as batches have them."""
        together = targets_of(self.items)
        return default_collate([i.label for i in self.items]) if together is None else together

    def __getitem__(self, sample: Sample) -> dict[str, Any]:
        item = self.items[sample.index]
        try:
            image = self._view(self.read(item.impath), sample)
        except PictureError:
            raise
        except Exception as error:
            raise RuntimeError(f"Cannot read picture {item.impath}: {error}") from error
        return {
            "img": image,
            "label": item.label,
            "domain": item.domain,
            "index": sample.index,
            "sample_seed": sample.seed,
            "impath": item.impath,
        }

    def _view(self, picture: object, sample: Sample) -> Tensor:
        if not self.augmented:
            image = self.transform(picture)  # [3, H, W]
            return image.flip(-1) if sample.view == FLIPPED else image
        states = random.getstate(), np.random.get_state()
        with torch.random.fork_rng(devices=[]):
            random.seed(sample.seed)
            np.random.seed(sample.seed)
            torch.manual_seed(sample.seed)
            image = self.transform(picture)
        random.setstate(states[0])
        np.random.set_state(states[1])
        return image
