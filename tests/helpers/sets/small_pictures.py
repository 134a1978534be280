"""A few random pictures on disk, with labels, as a data set lists them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 11


@dataclass
class Picture:
    impath: str
    label: np.ndarray | int
    domain: int = 0


def read(path: str) -> Image.Image:
    return Image.open(path).convert("RGB")


def write_pictures(folder: Path) -> list[Picture]:
    """Write `SIZE` pictures of 50 x 40 pixels."""
    rng = np.random.default_rng(0)
    items = []
    for i in range(SIZE):
        path = folder / f"{i}.png"
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(path)
        items.append(Picture(str(path), (rng.random(3) < 0.4).astype(np.float32)))
    return items
