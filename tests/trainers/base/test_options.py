"""Classes that training does not see, in whole runs."""

from __future__ import annotations

import json

import pytest

import train
from tests.helpers.models.small_trainer import build
from tests.helpers.sets.small_set import arguments


@pytest.fixture
def split(tmp_path):
    path = tmp_path / "split.txt"
    path.write_text("cat seen\ntraffic light seen\ndog unseen\n")
    return ("DATASET.CLASS_SPLIT", path)


def test_a_run_reports_seen_and_unseen_classes(roots, split, tmp_path):
    more = [*map(str, split), "TEST.TOP_K", "(1,)", "OPTIM.MAX_EPOCH", "1"]
    train.main(arguments(roots["ViT"], "CoOp", tmp_path / "out", *more))
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert [row["name"] for row in results["per_class"]] == ["cat", "traffic light", "dog"]
    assert results["per_class"][2]["train_count"] == 0
    assert results["metrics"]["mAP_unseen"] == results["per_class"][2]["AP"]
    names = {"mAP_seen", "mAP_zsl", "OF1_top1", "OF1_top1_zsl"}
    assert names <= set(results["metrics"])
    assert results["metrics"]["OR_top1_zsl"] == 100  # the only class is the highest one


@pytest.mark.parametrize(
    ("trainer", "more", "message"),
    [
        ("CoOp", ("TRAINER.COOP.CSC", True), "set the method's CSC False"),
        ("LinearProbe", (), "choose another method"),
    ],
)
def test_parts_for_unseen_classes_are_refused(roots, split, tmp_path, trainer, more, message):
    with pytest.raises(ValueError, match=f"CLASS_SPLIT has 1 classes .*{message}"):
        build(roots["ViT"], trainer, tmp_path, *split, *more)


def test_what_trains_nothing_needs_no_training(roots, split, tmp_path):
    assert build(roots["ViT"], "ZeroshotCLIP", tmp_path, *split).data.dataset.seen[2] is False
