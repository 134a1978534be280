"""Pairs of shapes as classes, and pictures that show every pair exactly as often as asked.

A class is a pair such as "moon and star": a picture shows it if it shows both, wherever they are.
A picture of a moon and a heart is then a hard negative, and one of five shapes has many labels.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from datasets.shapes.glyphs import SHAPE_NAMES

MAX_SHAPES = 7  # shapes in one picture
CIRCLE = (  # each shape makes pairs with the REACH next ones; the last is followed by the first
    *("house", "tree", "flower", "butterfly", "mushroom", "umbrella", "lightning bolt"),
    *("moon", "star", "spiral", "fish", "anchor", "flag", "bell", "crown", "key", "arrow"),
    *("heart", "envelope", "cup"),
)
REACH = 4
_DENSER = 1.5  # first pictures against the mean: room is left for pairs that fit no other shape


def _pairs() -> tuple[tuple[int, int], ...]:
    """The pairs by the sum of their places on the circle, so that the first share shapes."""
    size = len(CIRCLE)
    places = {
        tuple(sorted((place, (place + step) % size)))
        for place in range(size)
        for step in range(1, REACH + 1)
    }
    ordered = sorted(places, key=lambda pair: (sum(pair), pair))
    ids = [SHAPE_NAMES.index(name) for name in CIRCLE]
    return tuple((min(ids[a], ids[b]), max(ids[a], ids[b])) for a, b in ordered)


PAIRS = _pairs()  # shape ids of each class, the smaller first
PAIR_NAMES = tuple(f"{SHAPE_NAMES[first]} and {SHAPE_NAMES[second]}" for first, second in PAIRS)
_CLASS_OF = {pair: class_id for class_id, pair in enumerate(PAIRS)}


def pairs_among(shapes: Iterable[int]) -> list[int]:
    """Sorted ids of the pairs of which both shapes are among these."""
    shown = set(shapes)
    return [class_id for class_id, pair in enumerate(PAIRS) if shown.issuperset(pair)]


def compose_pictures(counts: Sequence[int], images: int, rng: random.Random) -> list[list[int]]:
    """Choose two to seven shapes for every picture, meeting every count of pairs exactly.

    Pictures grow shape by shape while no pair is shown too often. What is then left is shown by
    pictures of a single pair.

    Args:
        counts: [C] number of pictures that must show each pair.
        images: number of pictures N.
        rng: the only source of randomness.

    Returns:
        N sorted lists of shape ids.

    Raises:
        ValueError: no such pictures were found.
    """
    left, rows = list(counts), []
    while len(rows) < images <= len(rows) + sum(left):
        mean = sum(left) / (images - len(rows)) * _DENSER
        most = 1 + sum(left) - (images - len(rows))  # so that a label is left for each picture
        rows.append(_grow(left, min(_geometric(mean, rng), most), most, rng))
    if len(rows) != images or any(left):
        raise ValueError(
            f"{images} pictures of 2 to {MAX_SHAPES} shapes cannot show pairs {sum(counts)} times "
            f"in all: expected at least one pair for each picture and few enough to fit; "
            f"{len(rows)} pictures left out {sum(left)}. Ask for another number of pictures."
        )
    rng.shuffle(rows)
    return rows


def _geometric(mean: float, rng: random.Random) -> int:
    """A number from 1 up with this mean, at least 1."""
    number = 1
    while rng.random() * mean < mean - 1:
        number += 1
    return number


def _grow(left: list[int], wanted: int, most: int, rng: random.Random) -> list[int]:
    """Shapes of a picture of `wanted` pairs or a few more, never above `most`; lowers `left`."""
    (class_id,) = rng.choices(range(len(left)), left)
    row, shown = set(PAIRS[class_id]), [class_id]
    left[class_id] -= 1
    while len(row) < MAX_SHAPES and len(shown) < wanted:
        options, weights = [], []
        for shape in range(len(SHAPE_NAMES)):
            new = [] if shape in row else _new_pairs(row, shape)
            if new and len(shown) + len(new) <= most and all(left[pair] for pair in new):
                options.append((shape, new))
                weights.append(sum(left[pair] for pair in new) / len(new))
        if not options:
            break
        ((shape, new),) = rng.choices(options, weights)
        row.add(shape)
        shown += new
        for pair in new:
            left[pair] -= 1
    return sorted(row)


def _new_pairs(row: set[int], shape: int) -> list[int]:
    """Ids of the pairs that a further shape makes with those of a picture."""
    pairs = ((min(other, shape), max(other, shape)) for other in sorted(row))
    return [_CLASS_OF[pair] for pair in pairs if pair in _CLASS_OF]
