"""Loaders of training and evaluation batches, decoding in every step or looking features up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from modeling.data_path import EpochPlan, ImageDataset, InOrder, Item
from modeling.feature_cache import CachedLoader, FeatureCache
from modeling.views import Views

_ROWS = 4096  # cached features an evaluation step: the rows of one matrix product


@dataclass(frozen=True)
class ViewLoaders:
    """Makes the loaders of one run.

    Attributes:
        encode: images [B, 3, H, W] on the device to `Views`.
        read: path to PIL image.
        device: where features go.
        workers: decoding processes.
        encode_batch: images a forward pass of an evaluation or a cache.
        cached: look features up instead of encoding in every step.
    """

    encode: Callable[[Tensor], Views]
    read: Callable[[str], Any]
    device: torch.device
    workers: int
    encode_batch: int
    cached: bool

    def train(
        self, items: Sequence[Item], transform: Callable[[Any], Tensor], plan: EpochPlan
    ) -> Iterable[dict[str, Any]]:
        """Batches of views under a fixed transform; the plan draws the flips."""
        images = ImageDataset(items, self.read, transform)
        if not self.cached:
            return self._decode(images, plan)
        views = 2 if plan.flip > 0 else 1
        return CachedLoader(partial(self._cache, images, views, "Encode training images"), plan)

    def augmented(
        self, items: Sequence[Item], transform: Callable[[Any], Tensor], plan: EpochPlan
    ) -> DataLoader:
        """Batches under a transform with endless outcomes: decoded and encoded in every step."""
        return self._decode(ImageDataset(items, self.read, transform, augmented=True), plan)

    def evaluation(
        self, items: Sequence[Item], transform: Callable[[Any], Tensor], title: str
    ) -> Iterable[dict[str, Any]]:
        """Every image once, in list order."""
        images = ImageDataset(items, self.read, transform)
        if not self.cached:
            return self._decode(images, InOrder(len(items), self.encode_batch))
        make = partial(self._cache, images, 1, f"Encode {title} images")
        return CachedLoader(make, InOrder(len(items), _ROWS))

    def _decode(self, images: ImageDataset, plan: EpochPlan | InOrder) -> DataLoader:
        pin = self.device.type == "cuda"
        return DataLoader(images, batch_sampler=plan, num_workers=self.workers, pin_memory=pin)

    def _cache(self, images: ImageDataset, views: int, title: str) -> FeatureCache:
        plain = self._decode(images, InOrder(len(images), self.encode_batch))
        return FeatureCache.build(self.encode, plain, views, self.device, title)
