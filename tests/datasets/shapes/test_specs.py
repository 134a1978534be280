"""The specifications of the drawn sets: profiles of the photographs' sets, and fixed contents."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from common.groups import group_of
from datasets.shapes.generator import ensure_generated
from datasets.shapes.glyphs import SHAPE_NAMES
from datasets.shapes.specs import PairsSpec, ShapesSpec

VOC_LT = [6, 34, 8, 14, 154, 17, 249, 29, 479, 4, 240, 48, 11, 20, 775, 100, 5, 82, 7, 64]
SMALL = ShapesSpec(
    train_images=12, train_counts=(4, *(1,) * 19), test_images=10, test_counts=(1,) * 20
)
THUMBNAILS = {
    "train_0000.jpg": (242, 188, 64, 240, 185, 40, 240, 210, 65, 245, 213, 57),
    "test_0009.jpg": (215, 134, 172, 229, 137, 180, 234, 151, 187, 202, 114, 117),
}  # means of a picture's quarters


def test_shapes_lt_has_the_profile_of_voc_lt():
    spec = ShapesSpec()
    assert list(spec.train_counts) == VOC_LT
    assert (spec.train_images, sum(VOC_LT)) == (1142, 2346)
    assert spec.test_images >= 1000 and min(spec.test_counts) >= 100


def test_shapes_lt80_has_the_profile_of_coco_lt():
    spec = PairsSpec()
    groups = Counter(group_of(count) for count in spec.train_counts)
    assert groups == {"head": 22, "medium": 33, "tail": 25}
    assert (max(spec.train_counts), min(spec.train_counts), sum(spec.train_counts)) == (
        1128,
        6,
        8316,
    )
    assert len(spec.class_names) == len(spec.train_counts) == len(spec.test_counts) == 80


@pytest.mark.parametrize("split", ["train", "test", "val"])
def test_pictures_of_shapes_lt80_meet_its_counts(split):
    spec = PairsSpec()
    rows = spec.compose(split)
    counts = Counter(class_id for row in rows for class_id in spec.classes_of(row))
    expected = spec.train_counts if split == "train" else spec.test_counts
    assert [counts[class_id] for class_id in range(80)] == list(expected)
    assert len(rows) == (spec.train_images if split == "train" else spec.test_images)
    assert {len(row) for row in rows} == set(range(2, 8))
    assert 2.9 < sum(map(len, map(spec.classes_of, rows))) / len(rows) < 3.2  # COCO-LT's test: 2.93


def test_files_of_shapes_lt_are_what_they_always_were(tmp_path):
    """Figures of older runs hold only for the same pictures, lists and captions."""
    folder = ensure_generated(tmp_path, SMALL)
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.*")):
        digest.update(path.name.encode() + path.read_bytes())
    assert digest.hexdigest() == "5a8829eb0cfc6fc31488814624262f7b058b30347f4766a67ac0d9364231547a"
    for name, expected in THUMBNAILS.items():
        with Image.open(folder / "images" / name) as image:
            small = np.asarray(image.resize((2, 2), Image.Resampling.BOX), dtype=int)
        # JPEG decoders differ by a level or two
        np.testing.assert_allclose(small.ravel(), expected, atol=3)


def test_stamps_tell_specifications_apart():
    specs = (ShapesSpec(), SMALL, PairsSpec(), ShapesSpec(seed=1), ShapesSpec(version=2))
    assert len({spec.stamp() for spec in specs}) == len(specs)
    assert ShapesSpec().stamp() == ShapesSpec().stamp()
    assert ShapesSpec().class_names == SHAPE_NAMES
