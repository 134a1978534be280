"""Loaders of training and evaluation batches: features looked up, pictures kept, or all anew."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_start_method
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from common.choices import check_choice
from loading.cache.feature_cache import Cache, CachedLoader
from loading.cache.feature_encoder import FeatureEncoder
from loading.cache.feature_store import FeatureStore
from loading.cache.image_cache import (
    MAX_CACHE_BYTES,
    ImageCache,
    PreloadedImages,
    PreloadingLoader,
    gib,
)
from loading.own_rows import BatchSampler, shared_out
from loading.samplers import (
    EpochBatchSampler,
    ImageDataset,
    Item,
    SequentialBatchSampler,
)
from loading.transforms import split_at_pixels
from modeling.encoders.features import Features

CACHES = {
    "auto": "features where that is exact, else images",
    "features": "each view is encoded once",
    "images": "each picture is decoded once, and encoded in every step",
    "off": "decoded and encoded in every step",
}
_ROWS = 512  # cached features an evaluation step: few launches, and regions of them still fit


@dataclass
class LoaderFactory:
    """Makes the loaders of one run.

    Attributes:
        encode: images [B, 3, H, W] on the device to `Features`.
        test_encode: the same in evaluations; None as in training.
        read: path to PIL image.
        device: where features go.
        workers: decoding processes of training steps.
        encode_batch: images a forward pass of an evaluation or a cache.
        cache: one of `CACHES`.
        tunes_image_encoder: whether `encode` changes from step to step.
        store: where features are kept for later runs; None keeps them for this run alone.
        test_store: likewise, of `test_encode`.
        seconds: spent so far on making and loading caches.
    """

    encode: Callable[[Tensor], Features]
    read: Callable[[str], Any]
    device: torch.device
    workers: int
    encode_batch: int
    cache: str = "auto"
    tunes_image_encoder: bool = False
    store: FeatureStore | None = None
    test_encode: Callable[[Tensor], Features] | None = None
    test_store: FeatureStore | None = None
    seconds: float = field(default=0.0, init=False)
    _trained: dict[tuple[int, int], CachedLoader] = field(default_factory=dict, init=False)
    _encoder: FeatureEncoder = field(init=False)
    _test_encoder: FeatureEncoder = field(init=False)

    def __post_init__(self) -> None:
        check_choice("DATALOADER.CACHE", self.cache, CACHES)
        device, batch = self.device, self.encode_batch
        self._encoder = self._test_encoder = FeatureEncoder(self.encode, device, batch, self.store)
        if self.test_encode is not None:
            self._test_encoder = FeatureEncoder(self.test_encode, device, batch, self.test_store)

    def train(
        self, items: Sequence[Item], transform: Callable[[Any], Tensor], sampler: EpochBatchSampler
    ) -> Iterable[dict[str, Any]]:
        """Batches of views under a fixed transform; the sampler picks the flips.

        Raises:
            ValueError: features must be cached but cannot be, or the sampler picks among more views
                than there are.
        """
        if sampler.views:
            raise ValueError(
                "DATALOADER.CACHE_VIEWS is for augmentations with endless outcomes; these "
                "INPUT.TRANSFORMS have two at most, which are cached anyway. Set it to 0."
            )
        images = ImageDataset(items, self.read, transform)
        views = ("plain", "mirrored")[: 1 + (sampler.flip > 0)]
        loader = self._fixed(self._kind(), images, sampler, "train", views, self._encoder)
        if isinstance(loader, CachedLoader):
            self._trained[id(items), id(transform)] = loader
        return loader

    def augmented(
        self, items: Sequence[Item], transform: Callable[[Any], Tensor], sampler: EpochBatchSampler
    ) -> Iterable[dict[str, Any]]:
        """Batches under a transform with endless outcomes: encoded in every step.

        Where the sampler picks among K views of each image, these are encoded once instead. That
        changes the method: the same K outcomes of an image are seen again and again.

        Raises:
            ValueError: as `train`.
        """
        kind = self._kind("" if sampler.views else "the training transforms have endless outcomes")
        read = self.read
        if kind == "images" and self.workers and get_start_method() != "fork":
            print("Decoding in every step: these worker processes do not share memory.")
        elif kind == "images":
            read = PreloadedImages(self.read)
        images = ImageDataset(items, read, transform, augmented=True)
        if kind == "features":
            decode, views = partial(self._decode, images), sampler.views
            return self._cached(lambda: self._encoder.random_views(images, views, decode), sampler)
        if sampler.views:
            raise ValueError(
                f"DATALOADER.CACHE_VIEWS {sampler.views} picks among cached features, and none are "
                "cached here. Set it to 0."
            )
        decode = partial(self._decode, images, keep_workers=True)
        loader = shared_out(decode, images, sampler)
        if isinstance(read, PreloadedImages):
            return PreloadingLoader(loader, read, images.paths())
        return loader

    def evaluation(
        self, items: Sequence[Item], transform: Callable[[Any], Tensor], title: str
    ) -> Iterable[dict[str, Any]]:
        """Every image once, in list order.

        Raises:
            ValueError: features must be cached but cannot be.
        """
        kind = self._kind(silent=True)
        sampler = SequentialBatchSampler(
            len(items), _ROWS if kind == "features" else self.encode_batch
        )
        trained = self._trained.get((id(items), id(transform)))
        if trained is not None and self.test_encode is None:  # its first view is the plain one
            return CachedLoader(lambda: trained.cache, sampler)
        images = ImageDataset(items, self.read, transform)
        return self._fixed(kind, images, sampler, title, ("plain",), self._test_encoder)

    def _kind(self, obstacle: str = "", silent: bool = False) -> str:
        """What to cache, where `obstacle` says why features cannot be."""
        if self.tunes_image_encoder:
            obstacle = "the image tower trains"
        if self.cache == "features" and obstacle:
            raise ValueError(
                f"DATALOADER.CACHE features would change the method, for {obstacle}. Set it to "
                "auto, or, with a frozen tower, DATALOADER.CACHE_VIEWS to a number of fixed views."
            )
        if self.cache != "auto":
            return self.cache
        if obstacle and not silent:
            print(f"Encoding in every step, for {obstacle}.")
        return "images" if obstacle else "features"

    def _fixed(
        self,
        kind: str,
        images: ImageDataset,
        sampler: EpochBatchSampler | SequentialBatchSampler,
        title: str,
        views: Sequence[str],
        encoder: FeatureEncoder,
    ) -> Iterable[dict[str, Any]]:
        """The loader of images under a fixed transform."""
        if kind == "features":
            return self._cached(lambda: encoder.fixed(images, title, views), sampler)
        if kind == "images":
            to_pixels, finish = split_at_pixels(images.transform)
            pixels = ImageDataset(images.items, self.read, to_pixels)
            example = to_pixels(Image.new("RGB", (1, 1)))  # no picture need be there yet
            num_bytes = len(pixels) * example.nbytes
            if num_bytes <= MAX_CACHE_BYTES:
                batch, device = self.encode_batch, self.device
                build = partial(ImageCache.build, pixels, finish, batch, device, title)
                return shared_out(partial(self._cached, build), images, sampler)
            print(f"Decoding in every step: {len(pixels):,} {title} images take {gib(num_bytes)}.")
        keep = isinstance(sampler, EpochBatchSampler)
        return shared_out(partial(self._decode, images, keep_workers=keep), images, sampler)

    def _cached(self, make: Callable[[], Cache], sampler: BatchSampler) -> CachedLoader:
        def timed() -> Cache:
            start = time.perf_counter()
            cache = make()
            self.seconds += time.perf_counter() - start
            return cache

        return CachedLoader(timed, sampler)

    def _decode(
        self, images: ImageDataset, sampler: BatchSampler, keep_workers: bool = False
    ) -> DataLoader:
        return DataLoader(
            images,
            batch_sampler=sampler,
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
            persistent_workers=keep_workers and self.workers > 0,
        )
