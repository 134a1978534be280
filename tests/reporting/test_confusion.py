from __future__ import annotations

import math

import pytest
import torch

from reporting.confusion import MIN_IMAGES, Confusion, confusion, most_confused
from tests.helpers.runs.saved_runs import made_scores


def naive_confusion(scores, targets, a, b):
    without = [i for i, row in enumerate(targets) if row[b] == 0]
    shown = [i for i in without if targets[i][a] == 1]
    total = 0.0
    for i in shown:
        lower = sum(scores[k][b] < scores[i][b] for k in without)
        equal = sum(scores[k][b] == scores[i][b] for k in without)
        total += (lower + equal / 2) / len(without)
    return (total / len(shown) if shown else math.nan), len(shown)


def test_confusion_is_the_mean_rank_among_images_without_the_class():
    scores, targets = made_scores(50, 6)
    targets[:, 5] = 1  # never absent
    found = confusion(scores, targets)
    for a in range(6):
        for b in range(6):
            level, images = naive_confusion(scores.tolist(), targets.tolist(), a, b)
            assert found.level[a, b].item() == pytest.approx(level, nan_ok=True)
            assert found.images[a, b].item() == images


def test_a_class_taken_for_another_one_stands_out():
    scores, targets = made_scores(400, 6)  # each class lifts the next one's score
    pairs = most_confused(confusion(scores, targets), 6)
    assert {((pair.a + 1) % 6, pair.b) for pair in pairs} == {(c, c) for c in range(6)}
    assert pairs == sorted(pairs, key=lambda pair: -pair.level)


def test_pairs_of_few_images_are_not_listed():
    level = torch.tensor([[math.nan, 0.9], [0.7, math.nan]])
    images = torch.tensor([[0, MIN_IMAGES - 1], [MIN_IMAGES, 0]])
    found = Confusion(level, images)
    assert [(p.a, p.b) for p in most_confused(found, 9)] == [(1, 0)]
    turned = found.reordered([1, 0])
    assert turned.level[0, 1] == level[1, 0] and turned.images[1, 0] == images[0, 1]
