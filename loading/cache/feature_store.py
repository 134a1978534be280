"""Feature store: looks features up on disk, or encodes and saves them."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from common.shared import shared
from loading.cache.feature_files import (
    CannotStoreError,
    EncodeInto,
    FeatureFile,
    storable,
    too_large,
)
from loading.cache.feature_key import encoder_key
from modeling.encoders.features import Features


def cache_folder(configured: str = "") -> Path:
    """Where features are kept: the configured folder, or `lmpt` in the user's cache folder."""
    if configured:
        return Path(configured).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "lmpt"


class FeatureStore:
    """Features of one frozen encoder, kept in a folder for later runs.

    Args:
        folder: of the files; see `cache_folder`.
        dataset: what the file names begin with.
        backbone: a CLIP's name or file; a part of the file names, too.
        encoder: the encoder, weights loaded.
        precision: one of `modeling.clip.precision.PRECISIONS`.
        device: where the encoder runs, and features go.
    """

    def __init__(
        self,
        folder: Path,
        dataset: str,
        backbone: str,
        encoder: nn.Module,
        precision: str,
        device: torch.device,
    ) -> None:
        self.folder, self.dataset, self.device = folder, dataset, device
        path = Path(backbone).expanduser()
        self.backbone = path.stem if path.is_file() else backbone
        self._works = True
        self._key = functools.cache(lambda: encoder_key(encoder, precision, device))

    def features(
        self, split: str, views: int, images: int, key: Mapping[str, str], encode_into: EncodeInto
    ) -> Features:
        """Features [V, N, ...], from the file that holds them or encoded into it.

        A folder that cannot be written to is reported once; features are then of this run alone.

        Args:
            split: what the images are called.
            views: V.
            images: N.
            key: what the features depend on beside the encoder.
            encode_into: encodes all images, calling its argument with each batch of features.
        """
        start = time.perf_counter()
        name = f"{self.dataset}-{split}-{self.backbone}"
        key = {"backbone": self.backbone, **self._key(), **key}
        file = FeatureFile(self.folder, name, key, views, images)
        read = partial(file.read, self.device)
        features, new = shared((file.path, self.device), read), False
        try:
            if features is None and self._works:
                features, new = file.make(encode_into, self.device)
        except CannotStoreError as error:
            print(f"Features are not kept for later runs: {error}")
            self._works = False
        if features is None:
            return in_memory(split, views, images, encode_into, self.device)
        done, arrow = ("Encoded", "->") if new else ("Loaded", "from")
        print(f"{done} {_summary(split, views, images, start)} {arrow} {file.path}")
        return features


def in_memory(
    split: str, views: int, images: int, encode_into: EncodeInto, device: torch.device
) -> Features:
    """Features [V, N, ...] for this run alone; arguments as of `FeatureStore.features`."""
    start = time.perf_counter()
    in_memory_features = _InMemoryFeatures(views, images, device)
    encode_into(in_memory_features.write)
    print(f"Encoded {_summary(split, views, images, start)}")
    return Features(**in_memory_features.tensors)


def _summary(split: str, views: int, images: int, start: float) -> str:
    seconds = time.perf_counter() - start
    return f"{images:,} {split} images x {views} view{'s' * (views > 1)} in {seconds:.2f} s"


class _InMemoryFeatures:
    """Tensors [V, N, ...] that features are written to in any order."""

    def __init__(self, views: int, images: int, device: torch.device) -> None:
        self.shape, self.device = (views, images), device
        self.tensors: dict[str, Tensor] = {}

    def write(self, view: int, first: int, features: Features) -> None:
        for name, rows in storable(features).items():
            if name not in self.tensors:
                size = (*self.shape, *rows.shape[1:])
                num_bytes = rows.element_size() * torch.Size(size).numel()
                device = torch.device("cpu") if too_large(name, num_bytes) else self.device
                self.tensors[name] = torch.empty(size, dtype=rows.dtype, device=device)
            self.tensors[name][view, first : first + len(rows)] = rows
