"""Feature encoder: every view of a list of images through the image tower, once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor

from loading.cache.feature_cache import FeatureCache
from loading.cache.feature_files import Write
from loading.cache.feature_key import picture_digests, preprocessing_key
from loading.cache.feature_store import FeatureStore, in_memory
from loading.decoding import CPU_BATCH, decoded, map_batches
from loading.samplers import FLIPPED, PLAIN, AllViewsSampler, ImageDataset
from loading.transforms import split_at_pixels
from modeling.encoders.features import Features

BY_PLACE = "sampled by view and place"
Pictures = tuple[int, int, Tensor]  # view, first image, pictures [B, 3, H, W] on the device


@dataclass(frozen=True)
class FeatureEncoder:
    """Makes feature caches of images, from files of earlier runs where these fit.

    Attributes:
        encode: images [B, 3, H, W] on the device to `Features`.
        device: where features go.
        batch_size: images that are decoded together, B.
        store: where features are kept for later runs; None keeps them for this run alone.
    """

    encode: Callable[[Tensor], Features]
    device: torch.device
    batch_size: int
    store: FeatureStore | None = None

    def fixed(self, images: ImageDataset, title: str, views: Sequence[str]) -> FeatureCache:
        """Features of images under a transform without random numbers.

        Args:
            images: N images.
            title: what they are called.
            views: ("plain",), or ("plain", "mirrored").
        """
        to_pixels, finish = split_at_pixels(images.transform)

        def pictures(places: np.ndarray) -> Iterator[Pictures]:
            some = [images.items[place] for place in places]
            pixels, first = ImageDataset(some, images.read, to_pixels), 0
            for batch in decoded(pixels, self.batch_size, pin=self.device.type == "cuda"):
                plain = finish(batch.to(self.device, non_blocking=True))  # [B, 3, H, W]
                yield PLAIN, first, plain
                if len(views) > 1:
                    yield FLIPPED, first, plain.flip(-1)
                first += len(batch)

        return self._cache(images, pictures, title, len(views), ", ".join(views))

    def random_views(
        self,
        images: ImageDataset,
        views: int,
        decode: Callable[[AllViewsSampler], Iterable[dict[str, Any]]],
    ) -> FeatureCache:
        """Features of K random views of each image.

        Args:
            images: N images, with a transform that uses random numbers.
            views: K.
            decode: makes the loader of a sampler's batches.
        """

        def pictures(places: np.ndarray) -> Iterator[Pictures]:
            sampler, done = AllViewsSampler(places, self.batch_size, views), 0
            for samples, batch in zip(sampler, decode(sampler), strict=True):
                shown = batch["img"].to(self.device, non_blocking=True)  # [B, 3, H, W]
                yield samples[0].view, done % len(places), shown
                done += len(samples)

        return self._cache(images, pictures, "train", views, BY_PLACE)

    def _cache(
        self,
        images: ImageDataset,
        pictures: Callable[[np.ndarray], Iterable[Pictures]],
        title: str,
        views: int,
        names: str,
    ) -> FeatureCache:
        """Look features up on disk, or encode the pictures and leave their features there."""

        def encode(places: np.ndarray, write: Write) -> None:
            for view, first, features in self._encoded(pictures(places)):
                write(view, first, features)

        if self.store is None:
            features = in_memory(title, views, len(images), encode, self.device)
        else:
            key = {
                **preprocessing_key(images.read, images.transform),
                "views": names,
                "encode": getattr(self.encode, "__qualname__", type(self.encode).__qualname__),
            }
            digests = picture_digests(images.paths(), names == BY_PLACE)
            features = self.store.features(title, views, digests, key, encode)
        return FeatureCache(features, images.labels().to(self.device), images.paths())

    def _encoded(self, jobs: Iterable[Pictures]) -> Iterator[tuple[int, int, Features]]:
        """Features of all pictures, in order; on a CPU a few pictures at a time."""

        def encode(job: Pictures) -> tuple[int, int, Features]:
            view, first, pictures = job
            with torch.no_grad():
                return view, first, self.encode(pictures)

        if self.device.type == "cpu":
            jobs = (
                (view, first + at, part)
                for view, first, pictures in jobs
                for at, part in zip(count(0, CPU_BATCH), pictures.split(CPU_BATCH), strict=False)
            )
        yield from map_batches(encode, jobs, self.device)
