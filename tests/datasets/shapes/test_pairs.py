"""Pairs of shapes as classes: which there are, and pictures that meet their counts exactly."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest

from datasets.shapes.glyphs import SHAPE_NAMES
from datasets.shapes.pairs import PAIR_NAMES, PAIRS, compose_pictures, pairs_among


def test_eighty_pairs_in_which_every_shape_is_eight_times():
    assert len(set(PAIRS)) == len(set(PAIR_NAMES)) == 80
    assert Counter(itertools.chain(*PAIRS)) == dict.fromkeys(range(20), 8)
    assert all(first < second for first, second in PAIRS)
    assert "moon and star" in PAIR_NAMES


def test_pairs_among_shapes_are_those_whose_names_say_so():
    rng = random.Random(0)
    for size in range(8):
        shapes = rng.sample(range(20), size)
        names = sorted(SHAPE_NAMES[shape] for shape in shapes)
        possible = [" and ".join(two) for two in itertools.combinations(names, 2)]
        expected = [index for index, name in enumerate(PAIR_NAMES) if name in possible]
        assert pairs_among(shapes) == expected


@pytest.mark.parametrize(
    ("counts", "images"), [((90, *range(80, 1, -1)), 1500), ((9,) * 80, 240), ((1,) * 80, 80)]
)
def test_pictures_meet_every_count_with_two_to_seven_shapes(counts, images):
    rows = compose_pictures(counts, images, random.Random(0))
    shown = Counter(class_id for row in rows for class_id in pairs_among(row))
    assert len(rows) == images
    assert [shown[class_id] for class_id in range(80)] == list(counts)
    assert all(2 <= len(row) <= 7 and len(set(row)) == len(row) for row in rows)
    assert all({shape for k in pairs_among(row) for shape in PAIRS[k]} == set(row) for row in rows)


def test_pictures_depend_on_the_random_numbers_alone():
    counts, images = (9,) * 80, 240
    rows = compose_pictures(counts, images, random.Random(1))
    assert rows == compose_pictures(counts, images, random.Random(1))
    assert rows != compose_pictures(counts, images, random.Random(2))


@pytest.mark.parametrize(
    ("counts", "images"), [((1,) * 80, 81), ((1,) * 80, 3), ((50, *(0,) * 79), 10)]
)
def test_impossible_counts_are_refused(counts, images):
    with pytest.raises(ValueError, match="cannot show pairs"):
        compose_pictures(counts, images, random.Random(0))
