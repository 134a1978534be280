"""Means over groups of classes, and the groups of another run."""

from __future__ import annotations

import pytest

from evaluation.results.grouping import group_means, grouped_as
from tests.helpers.small_results import make_result


def rows(groups, precisions):
    facts = zip("abcde", groups, precisions, strict=False)
    return [{"name": n, "group": g, "train_count": i, "AP": p} for i, (n, g, p) in enumerate(facts)]


def test_means():
    found = group_means(rows(["head", "tail", "tail", "tail"], [10.0, 20.0, 40.0, None]))
    assert found == {
        "mAP": pytest.approx(70 / 3),
        "mAP_head": pytest.approx(10),
        "mAP_tail": pytest.approx(30),
    }
    assert group_means(rows(["head"], [None])) == {}


def test_groups_of_another_run():
    metrics = {"mAP": 99.0, "mAP_tail": 99.0, "mAP_medium": 99.0, "mAP_softmax": 5.0}
    few = make_result("LMPT", per_class=rows(["tail"] * 3, [10.0, 20.0, 60.0]), metrics=metrics)
    whole = make_result("CoOp", per_class=rows(["head", "head", "tail"], [1.0, 2.0, 3.0]))
    (found,) = grouped_as([few], whole)
    assert found["metrics"] == {
        "mAP": 99.0,  # as the run has it
        "mAP_softmax": 5.0,
        "mAP_head": pytest.approx(15),
        "mAP_tail": pytest.approx(60),
    }
    assert [row["group"] for row in found["per_class"]] == ["head", "head", "tail"]
    assert few["per_class"][0]["group"] == "tail"  # itself unchanged


@pytest.mark.parametrize("names", [0, 2])
def test_other_classes_are_refused(names):
    few = make_result("LMPT", per_class=rows(["tail"] * 3, [1.0] * 3), metrics={})
    other = make_result("CoOp", per_class=rows(["tail"] * names, [1.0] * names))
    with pytest.raises(ValueError, match="classes of LMPT on VOCLT are not those of CoOp"):
        grouped_as([few], other)
