"""Feature store: looks features up on disk, or encodes and saves them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from common.ranks import on_any
from common.shared import shared
from loading.cache.feature_files import CannotStoreError, Write, storable, too_large
from loading.cache.feature_key import encoder_key
from loading.cache.feature_shards import EncodePlaces, FeatureShards
from modeling.encoders.features import Features

_ROUNDS = 3  # after which shards that turn out to be damaged are not made again


def cache_folder(configured: str = "") -> Path:
    """Where features are kept: the configured folder, or `lmpt` in the user's cache folder."""
    if configured:
        return Path(configured).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "lmpt"


class FeatureStore:
    """Features of one frozen encoder, kept in a folder for later runs.

    Args:
        folder: of the folders of shards; see `cache_folder`.
        dataset: what their names begin with.
        backbone: a CLIP's name or file; a part of the names, too.
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
        self,
        split: str,
        views: int,
        pictures: np.ndarray,
        key: Mapping[str, str],
        encode: EncodePlaces,
    ) -> Features:
        """Features [V, N, ...] from the shards that hold them; what is missing is encoded first.

        A folder that cannot be written to is reported once; features are then of this run alone.

        Args:
            split: what the images are called.
            views: V.
            pictures: digests of the N images, uint8 [N, 16]; see `feature_key.picture_digests`.
            key: what the features depend on beside the encoder and the pictures.
            encode: encodes images by their places, calling its second argument with each batch.
        """
        start = time.perf_counter()
        shards = self._shards(split, views, {"backbone": self.backbone, **self._key(), **key})
        named = (shards.folder, hashlib.sha256(pictures).digest(), self.device)
        read = partial(shards.read, pictures, self.device)
        features, made = shared(named, read), 0
        for _ in range(_ROUNDS):
            if not (self._works and on_any(features is None)):  # alike on all ranks
                break
            with _bar(encode, split, views, len(pictures)) as encode_and_tell:
                made += self._fill(shards, pictures, encode_and_tell)
            features = read() if self._works else None
        if features is None:
            return in_memory(split, views, len(pictures), encode, self.device)
        done, arrow = ("Encoded", "->") if made else ("Loaded", "from")
        part = f"{made:,} of " if 0 < made < len(pictures) else ""
        print(
            f"{done} {part}{_summary(split, views, len(pictures), start)} {arrow} {shards.folder}"
        )
        return features

    def _fill(self, shards: FeatureShards, pictures: np.ndarray, encode: EncodePlaces) -> int:
        """Encode what is missing; how many pictures, 0 where the folder cannot be written to."""
        made, failed = 0, False
        try:
            made = shards.fill(pictures, encode)
        except CannotStoreError as error:
            print(f"Features are not kept for later runs: {error}")
            failed = True
        self._works = not on_any(failed)
        return made

    def _shards(self, split: str, views: int, key: Mapping[str, str]) -> FeatureShards:
        """The folder of an encoder's shards, whose name ends with a digest of the key."""
        text = json.dumps({**key, "views of each": views}, sort_keys=True)
        code = hashlib.sha256(text.encode()).hexdigest()[:16]
        name = re.sub(r"[^\w.]+", "-", f"{self.dataset}-{split}-{self.backbone}").strip("-")
        folder = Path(self.folder) / f"{name}-{code}"
        old = sorted(Path(self.folder).glob(f"{name}-{'?' * 16}.safetensors"))
        if old and not folder.exists():
            print(
                f"{old[0]} was written by an earlier version, which kept a whole list in one file. "
                "It is not read and may be deleted; features are encoded again, into files to "
                "which pictures can be added."
            )
        return FeatureShards(folder, key, views)


def in_memory(
    split: str, views: int, images: int, encode: EncodePlaces, device: torch.device
) -> Features:
    """Features [V, N, ...] for this run alone; arguments as of `FeatureStore.features`."""
    start = time.perf_counter()
    in_memory_features = _InMemoryFeatures(views, images, device)
    with _bar(encode, split, views, images) as encode_and_tell:
        encode_and_tell(np.arange(images), in_memory_features.write)
    print(f"Encoded {_summary(split, views, images, start)}")
    return Features(**in_memory_features.tensors)


@contextlib.contextmanager
def _bar(encode: EncodePlaces, split: str, views: int, images: int) -> Iterator[EncodePlaces]:
    """An encoder of places that shows how far it has come."""
    with tqdm(desc=f"Encode {split} images", total=views * images, leave=False) as bar:

        def encode_and_tell(places: np.ndarray, write: Write) -> None:
            def told(view: int, first: int, features: Features) -> None:
                write(view, first, features)
                bar.update(len(features))

            encode(places, told)

        yield encode_and_tell


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
                device = torch.device("cpu") if too_large({name: num_bytes}) else self.device
                self.tensors[name] = torch.empty(size, dtype=rows.dtype, device=device)
            self.tensors[name][view, first : first + len(rows)] = rows
