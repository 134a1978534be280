"""Image cache: pictures decoded once, for tuned encoders and for random augmentations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from common.readers.picture_files import open_picture
from loading.cache.feature_cache import labels_of
from loading.decoding import cores, decoded
from loading.samplers import FLIPPED, ImageDataset, Sample

MAX_CACHE_BYTES = 4 * 2**30  # bytes of decoded pictures that are kept


class ImageCache:
    """Resized images [N, 3, H, W] in memory, and the rest of their preprocessing.

    Flips and colours are computed on the device; they give what decoding would, to rounding.

    Args:
        pixels: [N, 3, H, W], uint8, on the device that trains.
        finish: pixels [B, 3, H, W] to the tower's input.
        labels: [N, C] targets (or [N] class indices), on the device.
        impaths: N paths.
    """

    def __init__(
        self,
        pixels: Tensor,
        finish: Callable[[Tensor], Tensor],
        labels: Tensor,
        impaths: Sequence[str],
    ) -> None:
        self.pixels, self.finish, self.labels, self.impaths = pixels, finish, labels, impaths

    def __len__(self) -> int:
        return len(self.pixels)

    @classmethod
    def build(
        cls,
        images: ImageDataset,
        finish: Callable[[Tensor], Tensor],
        batch_size: int,
        device: torch.device,
        title: str,
    ) -> ImageCache:
        """Decode every picture.

        Args:
            images: with a transform to pixels.
            finish: as above.
            batch_size: pictures that go to the device at once.
            device: where they end up.
            title: what the pictures are called.
        """
        start, first = time.perf_counter(), 0
        example = images[Sample(0)]["img"]  # [3, H, W]
        pixels = example.new_empty((len(images), *example.shape), device=device)
        batches = decoded(images, batch_size, pin=device.type == "cuda")
        count = -(-len(images) // batch_size)
        for batch in tqdm(batches, f"Decode {title} images", count, leave=False):
            pixels[first : first + len(batch)] = batch
            first += len(batch)
        seconds = time.perf_counter() - start
        print(f"Decoded {len(images):,} {title} images in {seconds:.1f} s")
        return cls(pixels, finish, images.labels().to(device), images.paths())

    def batch(self, samples: Sequence[Sample], indices: Tensor) -> dict[str, Any]:
        """The same batch as decoding would give; see `FeatureCache.batch`."""
        index, view, seed = indices
        pixels, flipped = self.pixels[index], (view == FLIPPED)[:, None, None, None]
        return {
            "img": self.finish(torch.where(flipped, pixels.flip(-1), pixels)),  # [B, 3, H, W]
            "label": labels_of(self.labels, samples, index),
            "index": index,
            "sample_seed": seed,
            "impath": [self.impaths[sample.index] for sample in samples],
        }


class PreloadedImages:
    """Reads pictures from memory if they were preloaded, else from their files.

    A transform then works on the very picture that reading would give: nothing changes but the
    time. Worker processes that are forked afterwards share the memory.

    Args:
        read: path to PIL image.
    """

    def __init__(self, read: Callable[[str], Image.Image]) -> None:
        self._read = read
        self._kept: dict[str, Image.Image] = {}

    def __call__(self, path: str) -> Image.Image:
        """The picture, from memory if it is there."""
        kept = self._kept.get(path)
        return self._read(path) if kept is None else kept

    def keep(self, paths: Sequence[str]) -> None:
        """Read pictures with all cores and keep them, up to `MAX_CACHE_BYTES` in all."""
        start = time.perf_counter()
        paths = list(dict.fromkeys(paths))
        with ThreadPoolExecutor(cores()) as pool:
            num_bytes = sum(pool.map(_num_bytes, paths))
            if num_bytes > MAX_CACHE_BYTES:
                print(f"Decoding in every step: {_summary(paths, num_bytes)}.")
                return
            pictures = pool.map(self._read, paths)
            progress = tqdm(pictures, "Decode training images", len(paths), leave=False)
            self._kept = dict(zip(paths, progress, strict=True))
        print(f"{_summary(paths, num_bytes)}, decoded in {time.perf_counter() - start:.1f} s")


class PreloadingLoader:
    """Data loader that augments preloaded pictures; they are decoded before the first batch.

    Args:
        loader: of a data set that reads through `memory`.
        memory: still empty.
        paths: the data set's pictures.
    """

    def __init__(self, loader: DataLoader, memory: PreloadedImages, paths: Sequence[str]) -> None:
        self.loader, self._memory, self._paths = loader, memory, paths
        self._asked = False

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if not self._asked:
            self._memory.keep(self._paths)
            self._asked = True
        return iter(self.loader)


def _num_bytes(path: str) -> int:
    """Bytes that a picture takes in memory, from its header; Pillow pads 3 channels to 4."""
    try:
        with open_picture(path) as picture:
            return 4 * picture.width * picture.height
    except Exception:  # of a damaged header nearly anything; reading it will say what is wrong
        return 0


def _summary(paths: Sequence[str], room: int) -> str:
    return f"{len(paths):,} pictures take {gib(room)}"


def gib(room: int) -> str:
    """Bytes for the log, beside what there is."""
    return f"{room / 2**30:.1f} of {MAX_CACHE_BYTES / 2**30:.0f} GiB"
