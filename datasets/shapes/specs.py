"""What is drawn for a data set of shapes: its classes, their counts, its style, its file names."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

from datasets.shapes.glyphs import SHAPE_NAMES
from datasets.shapes.pairs import PAIR_NAMES, PAIRS, compose_pictures, pairs_among
from datasets.shapes.renderer import BENCHMARK, CROWDED, Style
from datasets.shapes.scenes import assign_labels

SPLITS = ("train", "test", "val")  # a split's place here is part of its seed


@dataclass(frozen=True)
class ShapesSpec:
    """What to generate. The defaults are ShapesLT; tests use fewer pictures."""

    name: ClassVar[str] = "ShapesLT"
    folder: ClassVar[str] = "shapes_lt"  # under the data root
    class_names: ClassVar[tuple[str, ...]] = SHAPE_NAMES
    style: ClassVar[Style] = BENCHMARK

    version: int = 1  # raise when the same style would be drawn or described differently
    seed: int = 2024
    train_images: int = 1142
    train_counts: tuple[int, ...] = (
        *(6, 34, 8, 14, 154, 17, 249, 29, 479, 4),
        *(240, 48, 11, 20, 775, 100, 5, 82, 7, 64),
    )  # pictures that show each class: the profile of VOC-LT
    test_images: int = 1100
    test_counts: tuple[int, ...] = (115,) * len(SHAPE_NAMES)

    @property
    def stamp_file(self) -> str:
        """Name of the file that holds `stamp`."""
        return f"{self.folder}_version.json"

    @property
    def caption_file(self) -> str:
        """Name of the file of the training captions."""
        return f"{self.folder}_captions.txt"

    def list_file(self, split: str) -> str:
        """Name of a split's list of images."""
        return f"{self.folder}_{split}.txt"

    def stamp(self) -> str:
        """Text that two equal specifications share, kept beside the generated files."""
        return json.dumps({**asdict(self), "style": asdict(self.style)}, sort_keys=True) + "\n"

    def compose(self, split: str) -> list[list[int]]:
        """Shapes of each picture of a split; validation is as large and balanced as test."""
        like = "train" if split == "train" else "test"
        counts, images = getattr(self, f"{like}_counts"), getattr(self, f"{like}_images")
        return self._assign(counts, images, random.Random(self.seed * 2 + SPLITS.index(split)))

    def classes_of(self, shapes: Sequence[int]) -> list[int]:
        """Ids of the classes that a picture of these shapes shows."""
        return list(shapes)

    def _assign(self, counts: Sequence[int], images: int, rng: random.Random) -> list[list[int]]:
        return assign_labels(counts, images, rng)


@dataclass(frozen=True)
class PairsSpec(ShapesSpec):
    """What to generate for ShapesLT80, whose classes are pairs of shapes."""

    name: ClassVar[str] = "ShapesLT80"
    folder: ClassVar[str] = "shapes_lt80"
    class_names: ClassVar[tuple[str, ...]] = PAIR_NAMES
    style: ClassVar[Style] = CROWDED

    seed: int = 2025
    train_images: int = 2700
    train_counts: tuple[int, ...] = (
        *(1128, 624, 585, 498, 460, 366, 292, 276, 237, 207, 200, 189, 175, 173, 164, 153),
        *(137, 127, 126, 119, 113, 100, 97, 91, 89, 87, 87, 84, 73, 73, 70, 70),
        *(50, 49, 45, 44, 44, 41, 39, 39, 37, 36, 35, 35, 32, 31, 29, 25),
        *(25, 25, 24, 21, 21, 20, 20, 19, 18, 17, 17, 16, 15, 14, 13, 12),
        *(11, 11, 11, 10, 10, 10, 9, 9, 8, 8, 8, 7, 7, 7, 6, 6),
    )  # the profile of COCO-LT, falling
    test_images: int = 2400
    test_counts: tuple[int, ...] = (90,) * len(PAIRS)

    def classes_of(self, shapes: Sequence[int]) -> list[int]:
        """Ids of the pairs of which a picture shows both shapes."""
        return pairs_among(shapes)

    def _assign(self, counts: Sequence[int], images: int, rng: random.Random) -> list[list[int]]:
        return compose_pictures(counts, images, rng)
