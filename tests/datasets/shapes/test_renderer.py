"""Pictures are reproducible, show what they claim, and keep to their style."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from datasets.shapes import renderer as shapes_renderer
from datasets.shapes.glyphs import SHAPE_NAMES, glyph
from datasets.shapes.renderer import BENCHMARK, COLOUR_NAMES, CROWDED, PRETRAIN, SIDE, render

PLAIN = replace(
    PRETRAIN,
    **dict(rotation=0.0, stretch=0.0, overlap=0.0, outside=0.0, hollow=0.0, rim=0.0, blur=0.0),
    **dict(opacity=(1.0, 1.0), noise=(0.0, 0.0), strokes=(0, 0), blobs=(0, 0), scratches=(0, 0)),
)


def pixels(class_ids, style, *seed):
    return np.asarray(render(class_ids, style, np.random.default_rng(seed)).image)


@pytest.mark.parametrize(
    "style", [PRETRAIN, BENCHMARK, CROWDED], ids=["pretrain", "benchmark", "crowded"]
)
def test_same_seed_same_pixels_and_another_seed_others(style):
    first = pixels([3, 7, 11], style, 5)
    assert first.shape == (SIDE, SIDE, 3) and first.dtype == np.uint8
    assert np.array_equal(first, pixels([3, 7, 11], style, 5))
    assert not np.array_equal(first, pixels([3, 7, 11], style, 6))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7])
def test_picture_reports_its_objects_and_colours(count):
    class_ids = list(range(count, 2 * count))
    picture = render(class_ids, CROWDED, np.random.default_rng(count))
    assert sorted(picture.class_ids) == class_ids
    assert len(picture.colours) == count
    assert set(picture.colours) | {picture.background} <= set(COLOUR_NAMES)


@pytest.mark.parametrize("class_id", [0, 9, 17], ids=lambda index: SHAPE_NAMES[index])
def test_a_plain_picture_is_the_glyph_on_a_gradient(class_id, monkeypatch):
    """The naive twin: threshold the distance to the background and compare with the glyph."""
    monkeypatch.setattr(shapes_renderer, "_gradient", lambda ground, rng: _flat(ground))
    picture = pixels([class_id], PLAIN, 1).astype(int)
    differs = np.abs(picture - picture[0, 0]).sum(axis=2) > 60
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    crop = differs[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    expected = glyph(class_id).crop(glyph(class_id).getbbox()).resize(crop.shape[::-1])
    shapes = [np.asarray(expected) > 127, np.asarray(expected)[:, ::-1] > 127]
    assert max((crop == shape).mean() for shape in shapes) > 0.9


def _flat(ground):
    return shapes_renderer.Image.new("RGB", (SIDE, SIDE), ground)


def test_boxes_stay_in_the_picture_and_apart_where_the_style_says_so():
    style = replace(PLAIN, size=(0.2, 0.3))
    for seed in range(100):
        boxes = shapes_renderer._place(2, style, np.random.default_rng(seed))
        for left, top, side in boxes:
            assert min(left, top) >= 0 and max(left, top) + side <= SIDE + 1e-6
            assert 0.2 * SIDE <= side <= 0.3 * SIDE
        assert boxes[0][2] >= boxes[1][2]
        assert shapes_renderer._covered(*boxes) == 0


def test_covered_share_equals_a_count_of_pixels():
    box, other = (10.0, 20.0, 30.0), (25.0, 5.0, 40.0)
    grid = np.zeros((2, SIDE, SIDE), bool)
    for mask, (left, top, side) in zip(grid, (box, other), strict=True):
        mask[int(top) : int(top + side), int(left) : int(left + side)] = True
    assert shapes_renderer._covered(box, other) == pytest.approx(grid.all(axis=0).sum() / 30**2)
    assert shapes_renderer._covered(box, (50.0, 50.0, 10.0)) == 0


def test_objects_stand_out_from_their_background():
    for seed in range(100):
        rng = np.random.default_rng(seed)
        ground = tuple(int(value) for value in rng.integers(0, 256, 3))
        _, colour = shapes_renderer._visible_colour(ground, 100.0, rng)
        assert np.linalg.norm(np.subtract(colour, ground)) >= 100
