from __future__ import annotations

import pytest

from trainers.base.epoch_selection import EpochSelection


@pytest.mark.parametrize(
    ("rule", "schedule", "watched"),
    [
        ("last_step", "cosine", None),
        ("last_step", "plateau", "val"),
        ("best_val", "cosine", "val"),
        ("best_test", "plateau", "test"),
    ],
)
def test_what_is_watched(rule, schedule, watched):
    assert EpochSelection(rule, schedule).watched_split == watched


def test_an_epoch_is_kept_where_it_is_better_than_all_before():
    selection = EpochSelection("best_val")
    assert [selection.observe(metric) for metric in (40.0, 39.0, 40.0, 41.5)] == [
        *(True, False, False, True)
    ]
    assert selection.best == 41.5


def test_the_last_epoch_keeps_none():
    assert not EpochSelection("last_step", "plateau").observe(99.0)


@pytest.mark.parametrize(
    ("selection", "test_split"),
    [
        (EpochSelection("best_val"), "test"),
        (EpochSelection("last_step", "plateau"), "test"),
        (EpochSelection("last_step"), "val"),
    ],
)
def test_validation_images_are_asked_for_where_they_are_needed(selection, test_split):
    selection.check_splits(True, test_split, "Mine")
    with pytest.raises(ValueError, match="Mine has none. Hold some out"):
        selection.check_splits(False, test_split, "Mine")


def test_no_validation_images_are_needed_for_the_test_split():
    EpochSelection("best_test").check_splits(False, "test", "Mine")
