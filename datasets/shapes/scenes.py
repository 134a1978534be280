"""Which classes share a picture of ShapesLT: exact class counts, with latent scenes.

Scenes are found by swaps that leave every class count and every picture size as they are.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from datasets.shapes.glyphs import SHAPE_NAMES

MAX_OBJECTS = 4  # objects in one picture

SCENES: tuple[tuple[str, ...], ...] = (
    ("anchor", "fish", "flag", "moon"),
    ("moon", "star", "house", "tree"),
    ("flower", "butterfly", "mushroom", "tree"),
    ("crown", "flag", "bell", "key"),
    ("envelope", "heart", "arrow", "key"),
    ("lightning bolt", "umbrella", "house"),
    ("cup", "spiral", "heart", "envelope"),
)


def assign_labels(counts: Sequence[int], images: int, rng: random.Random) -> list[list[int]]:
    """Choose one to four distinct classes for every picture, meeting every class count exactly.

    Args:
        counts: [C] number of pictures that must show each class.
        images: number of pictures N.
        rng: the only source of randomness.

    Returns:
        N sorted lists of class ids.

    Raises:
        ValueError: no such assignment exists.
    """
    total = sum(counts)
    if not images <= total <= images * MAX_OBJECTS or max(counts) > images:
        raise ValueError(
            f"{images} pictures of 1 to {MAX_OBJECTS} distinct objects cannot show class counts "
            f"{tuple(counts)}: expected a sum from {images} to {images * MAX_OBJECTS} and no count "
            f"above {images}, got a sum of {total} and a largest count of {max(counts)}."
        )
    rows = _fill(counts, _picture_sizes(total, images, rng), rng)
    _mix(rows, rng, swaps=20 * total)
    return [sorted(row) for row in rows]


def _picture_sizes(total: int, images: int, rng: random.Random) -> list[int]:
    """Objects per picture, 1 to MAX_OBJECTS, summing to `total`."""
    sizes = [1] * images
    growing = list(range(images))
    for _ in range(total - images):
        position = rng.randrange(len(growing))
        sizes[growing[position]] += 1
        if sizes[growing[position]] == MAX_OBJECTS:
            growing[position] = growing[-1]
            growing.pop()
    return sizes


def _fill(counts: Sequence[int], sizes: list[int], rng: random.Random) -> list[set[int]]:
    """Gale and Ryser's greedy filling: frequent classes first, into the emptiest pictures."""
    rows: list[set[int]] = [set() for _ in sizes]
    for class_id in sorted(range(len(counts)), key=lambda index: -counts[index]):
        room = sorted(range(len(rows)), key=lambda i: (len(rows[i]) - sizes[i], rng.random()))
        for index in room[: counts[class_id]]:
            if len(rows[index]) == sizes[index]:
                raise ValueError(f"class counts {tuple(counts)} do not fit {len(sizes)} pictures.")
            rows[index].add(class_id)
    return rows


def _mix(rows: list[set[int]], rng: random.Random, swaps: int, temperature: float = 0.7) -> None:
    """Metropolis swaps of one object between two pictures; pairs of a scene attract each other."""
    affinity = _scene_affinity()

    def gain(row: set[int], leaves: int, enters: int) -> int:
        stays = row - {leaves}
        return sum(affinity[enters][k] - affinity[leaves][k] for k in stays)

    for _ in range(swaps):
        first, second = rows[rng.randrange(len(rows))], rows[rng.randrange(len(rows))]
        gives, takes = sorted(first - second), sorted(second - first)
        if not gives or not takes:
            continue
        old, new = rng.choice(gives), rng.choice(takes)
        change = gain(first, old, new) + gain(second, new, old)
        if change >= 0 or rng.random() < math.exp(change / temperature):
            first.remove(old), first.add(new)
            second.remove(new), second.add(old)


def _scene_affinity() -> list[list[int]]:
    """Number of scenes that two classes share, as a symmetric [C, C] table."""
    scenes = [{SHAPE_NAMES.index(name) for name in scene} for scene in SCENES]
    classes = range(len(SHAPE_NAMES))
    return [[sum({a, b} <= scene for scene in scenes) for b in classes] for a in classes]
