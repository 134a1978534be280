"""Every glyph is a clear, distinct silhouette."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from datasets.shapes.glyphs import GLYPH_SIDE, SHAPE_NAMES, glyph, outline

CLASSES = range(len(SHAPE_NAMES))


def covered(class_id):
    return np.asarray(glyph(class_id)) > 127


def test_twenty_distinct_names_in_alphabetical_order():
    assert len(set(SHAPE_NAMES)) == 20
    assert list(SHAPE_NAMES) == sorted(SHAPE_NAMES)


@pytest.mark.parametrize("class_id", CLASSES, ids=SHAPE_NAMES)
def test_glyph_fills_its_square_without_being_the_square(class_id):
    mask = covered(class_id)
    assert mask.shape == (GLYPH_SIDE, GLYPH_SIDE)
    assert 0.1 < mask.mean() < 0.75
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert max(np.ptp(rows), np.ptp(columns)) > 0.8 * GLYPH_SIDE


def test_no_two_glyphs_overlap_so_much_that_they_look_alike():
    for first, second in itertools.combinations(CLASSES, 2):
        a, b = covered(first), covered(second)
        assert (a & b).sum() / (a | b).sum() < 0.8, (SHAPE_NAMES[first], SHAPE_NAMES[second])


@pytest.mark.parametrize("class_id", CLASSES, ids=SHAPE_NAMES)
def test_outline_follows_the_contour_and_leaves_the_inside_open(class_id):
    line = np.asarray(outline(class_id)) > 127
    filled = covered(class_id)
    assert line.any()
    inside = filled & ~line
    edge = filled ^ np.roll(filled, 1, axis=1)
    assert (line & edge).sum() > 0.9 * edge[:, 1:].sum()
    assert line.sum() < 1.5 * filled.sum() and inside.any()
