"""Runs in the protocols of published tables."""

from __future__ import annotations

import pytest

from evaluation.comparing.published_protocols import MEAN, in_published_protocols
from tests.helpers.small_results import make_result

SHARES = range(10, 100, 10)


def run(protocol, seed=1, **changes):
    facts = {"metrics": {"mAP": 50.0}, "per_class": [], "config": "rn101", "backbone": "RN101"}
    return make_result("DualCoOp", seed, protocol=protocol, **facts | changes)


def partial(percent, seed=1, rules="", config=None, **metrics):
    config = config or f"rn101_paper_LABEL_PROPORTION{percent / 100:g}_NAMEx"
    return run(f"partial {percent}%{rules}", seed, config=config, metrics=metrics)


def names(runs):
    return [r["protocol"] for r in in_published_protocols(runs)]


def test_nine_shares_have_a_mean_for_each_seed():
    runs = [partial(p, seed, mAP=p + seed, mAP_head=1.0) for seed in (1, 2) for p in SHARES]
    runs[3]["metrics"].pop("mAP_head")
    means = [r for r in in_published_protocols(runs) if r["protocol"] == MEAN]
    assert [(r["seed"], r["config"]) for r in means] == [(s, "rn101_paper_NAMEx") for s in (1, 2)]
    assert means[0]["metrics"] == {"mAP": pytest.approx(51)}
    assert means[1]["metrics"] == {"mAP": pytest.approx(52), "mAP_head": pytest.approx(1)}


def test_there_is_no_mean_of_fewer_or_of_other_runs():
    eight = [partial(p, mAP=1.0) for p in SHARES if p != 50]
    assert MEAN not in names(eight)
    assert MEAN not in names([*eight, partial(50, seed=2, mAP=1.0)])
    assert MEAN not in names([*eight, partial(50, config="rn101_LABEL_PROPORTION0.5", mAP=1.0)])
    assert MEAN not in names([*eight, partial(50, rules=", images with labels", mAP=1.0)])
    assert MEAN not in names([*eight, partial(55, mAP=1.0)])
    assert MEAN in names([*eight, partial(50, mAP=1.0)])


def test_rules_on_images_follow_a_mean():
    runs = [partial(p, rules=", images with labels", mAP=1.0) for p in SHARES]
    assert names(runs)[-1] == f"{MEAN}, images with labels"


def test_unseen_classes_have_two_protocols():
    metrics = {"mAP": 30.0, "mAP_unseen": 20.0, "mAP_zsl": 60.0, "OF1_top3": 5.0}
    metrics["OF1_top3_zsl"] = 7.0
    proper, generalised = in_published_protocols([run("coco_48_17 full labels", metrics=metrics)])
    assert proper["protocol"] == "48/17 ZSL"
    assert proper["metrics"] == {"mAP": 60.0, "OF1_top3": 7.0}
    assert generalised["protocol"] == "48/17 GZSL" and generalised["metrics"] == metrics
    dropped = "nus_wide_925_81 full labels, images with labels"
    assert names([run(dropped)])[0] == "925/81 ZSL, images with labels"


@pytest.mark.parametrize(
    ("protocol", "published"),
    [
        ("coco_novel_16 1 shots", "16 novel classes, 1-shot"),
        ("coco_novel_16 5 shots", "16 novel classes, 5-shot"),
        ("coco_novel_16 zero-shot", "16 novel classes, 0-shot"),
        ("coco_novel_16 text-only training", "16 novel classes, 0-shot"),
        ("coco_novel_16 full labels", "coco_novel_16 full labels"),
        ("partial 10% + text-only training", "partial 10%"),
        ("text-only training + 4 shots", "4 shots"),
        ("partial 10% + zero-shot", "partial 10% + zero-shot"),
        ("text-only training", "text-only training"),
        ("full labels", "full labels"),
        (None, ""),
    ],
)
def test_other_names(protocol, published):
    assert names([run(protocol)]) == [published]
