from __future__ import annotations

import pytest
import torch
from torch.optim import SGD

from trainers.base.epoch_selection import EpochSelection
from trainers.base.plateau import PlateauOnValidation


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
    ("rule", "schedule", "test_split"),
    [
        ("best_val", "cosine", "test"),
        ("last_step", "plateau", "test"),
        ("last_step", "cosine", "val"),
    ],
)
def test_validation_images_are_asked_for_where_they_are_needed(rule, schedule, test_split):
    selection = EpochSelection(rule, schedule, test_split)
    selection.check_splits(True, "Mine")
    with pytest.raises(ValueError, match="Mine has none. Hold some out"):
        selection.check_splits(False, "Mine")


def test_no_validation_images_are_needed_for_the_test_split():
    EpochSelection("best_test").check_splits(False, "Mine")


@pytest.mark.parametrize(
    ("rule", "test_split", "expected"),
    [
        ("last_step", "test", [[], ["test"], [], ["test"], []]),
        ("best_val", "test", [["val"], ["val", "test"], ["val"], ["val", "test"], ["val"]]),
        ("best_test", "test", [["test"]] * 5),
        ("best_val", "val", [["val"]] * 5),
    ],
)
def test_further_looks_are_taken_where_they_are_due(rule, test_split, expected):
    selection = EpochSelection(rule, test_split=test_split, test_every=2, max_epoch=6)
    assert [selection.splits_after(done) for done in range(1, 6)] == expected
    # The last epoch's look is the final evaluation.
    assert selection.splits_after(6) == ([] if rule == "last_step" else [rule[5:]])


def test_a_schedule_that_waits_for_a_metric_is_told():
    optimiser = SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = PlateauOnValidation(optimiser, "max", 0.1, 0)
    selection = EpochSelection("last_step", "plateau")
    for metric in (50.0, 40.0):
        assert not selection.observe(metric, schedule)
    assert optimiser.param_groups[0]["lr"] == 0.1


def test_what_is_evaluated_in_the_end_is_named():
    assert EpochSelection("last_step").final_model == "the last-epoch model"
    assert "validation" in EpochSelection("best_val").final_model
