"""Classes meet their counts exactly, and those of one scene meet each other."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from datasets.shapes.glyphs import SHAPE_NAMES
from datasets.shapes.scenes import SCENES, _scene_affinity, assign_labels

VOC_LT = [6, 34, 8, 14, 154, 17, 249, 29, 479, 4, 240, 48, 11, 20, 775, 100, 5, 82, 7, 64]


def count_classes(rows):
    counter = Counter(class_id for row in rows for class_id in row)
    return [counter[class_id] for class_id in range(len(SHAPE_NAMES))]


@pytest.mark.parametrize("counts, images", [(VOC_LT, 1142), ([115] * 20, 1100), ([3] * 20, 15)])
def test_assignment_meets_every_count_with_distinct_classes(counts, images):
    rows = assign_labels(counts, images, random.Random(0))
    assert len(rows) == images
    assert count_classes(rows) == counts
    assert all(1 <= len(row) <= 4 and len(set(row)) == len(row) for row in rows)


def test_classes_of_one_scene_share_pictures_more_often_than_others():
    rows = assign_labels([115] * 20, 1100, random.Random(0))
    together = np.zeros((20, 20))
    for row in rows:
        for class_id in row:
            together[class_id, row] += 1
    affinity = np.array(_scene_affinity())
    off_diagonal = ~np.eye(20, dtype=bool)
    related, strange = (together[(affinity > 0) & off_diagonal], together[affinity == 0])
    assert related.mean() > 3 * strange.mean()
    assert strange.sum() > 0


def test_every_class_belongs_to_a_scene():
    assert {name for scene in SCENES for name in scene} == set(SHAPE_NAMES)


@pytest.mark.parametrize("counts, images", [([9] * 20, 20), ([1] * 20, 30), ([11, 5], 10)])
def test_impossible_counts_are_refused(counts, images):
    with pytest.raises(ValueError, match="cannot show class counts"):
        assign_labels(counts, images, random.Random(0))
