from __future__ import annotations

import math
import re

import pytest
import torch

from evaluation.evaluator import MultiLabelLongTail, extend_cfg
from evaluation.fitted.fitted_files import Fitted, Origin, ScoredModel
from evaluation.metrics.scored_images import ScoredImages
from evaluation.metrics.top_k import top_k_metrics
from tests.helpers.naive.naive_metrics import naive_average_precision, naive_threshold_metrics

from dassl.config import get_cfg_default  # isort: skip - evaluation makes dassl importable
from dassl.evaluation import build_evaluator  # isort: skip

NAMES = ["person", "car", "bird", "cow", "toaster"]
COUNTS = [775, 120, 60, 4, 2]
GROUPS = ["head", "head", "medium", "tail", "tail"]
KEYS = (
    "mAP mAP_head mAP_medium mAP_tail mAP_logit mAP_softmax CP CR CF1 CF1_class_mean OP OR OF1"
).split()


def make_cfg(**test_keys):
    cfg = get_cfg_default()
    extend_cfg(cfg)
    for key, value in test_keys.items():
        cfg.TEST[key] = value
    return cfg


def make_evaluator(describe=True, **test_keys):
    evaluator = MultiLabelLongTail(make_cfg(**test_keys), lab2cname=dict(enumerate(NAMES)))
    if describe:
        evaluator.describe_classes(COUNTS, GROUPS)
    return evaluator


def make_split(n=64, seed=0, unknown=0.1):
    """CLIP-like logits, with an offset per image that a softmax removes."""
    generator = torch.Generator().manual_seed(seed)
    targets = (torch.rand(n, 5, generator=generator) < 0.4).float()
    targets[torch.rand(n, 5, generator=generator) < unknown] = -1
    offset = 2 * torch.randn(n, 1, generator=generator)
    logits = 25 + 1.5 * targets.clamp(min=0) + torch.randn(n, 5, generator=generator) + offset
    return logits, targets


def run(evaluator, logits, targets, batch=10):
    evaluator.reset()
    for part in zip(logits.split(batch), targets.split(batch), strict=True):
        evaluator.process(*part)
    return evaluator.evaluate()


def naive_aps(scores, targets):
    columns = zip(scores.T.tolist(), targets.T.tolist(), strict=True)
    return [100 * naive_average_precision(s, t) for s, t in columns]


def mean(values):
    return sum(values) / len(values)


@pytest.mark.parametrize("score", ["logit", "sigmoid", "softmax"])
def test_metrics_equal_naive_loops(score):
    logits, targets = make_split()
    evaluator = make_evaluator(SCORE=score, THRESHOLD=0.3)
    metrics = run(evaluator, logits, targets)

    by_space = {
        "logit": naive_aps(logits, targets),
        "softmax": naive_aps(logits.double().log_softmax(dim=1), targets),
    }
    own = by_space["softmax" if score == "softmax" else "logit"]
    expected = {
        "mAP": mean(own),
        "mAP_head": mean(own[:2]),
        "mAP_medium": own[2],
        "mAP_tail": mean(own[3:]),
        "mAP_logit": mean(by_space["logit"]),
        "mAP_softmax": mean(by_space["softmax"]),
    }
    probabilities = logits.double().softmax(1) if score == "softmax" else logits.double().sigmoid()
    decisions = naive_threshold_metrics((probabilities > 0.3).tolist(), targets.tolist())
    expected |= {name: 100 * value for name, value in decisions.items()}

    assert list(metrics) == KEYS  # mAP first: Dassl selects on the first value
    assert all(type(value) is float for value in metrics.values())
    assert metrics == pytest.approx(expected)
    assert abs(metrics["mAP_logit"] - metrics["mAP_softmax"]) > 5  # the spaces do differ
    assert metrics is evaluator.metrics


def test_per_class():
    logits, targets = make_split()
    targets[:, 4] = 0
    evaluator = make_evaluator()
    run(evaluator, logits, targets)
    rows = evaluator.per_class
    assert [row["name"] for row in rows] == NAMES
    assert [row["train_count"] for row in rows] == COUNTS
    assert [row["group"] for row in rows] == GROUPS
    assert [row["positives"] for row in rows] == (targets == 1).sum(0).tolist()
    assert [row["AP"] for row in rows[:4]] == pytest.approx(naive_aps(logits, targets)[:4])
    assert rows[4]["AP"] is None
    assert list(rows[0]) == ["name", "train_count", "group", "positives", "AP"]


def test_log_has_the_lines_that_dassl_parses(capsys):
    logits, targets = make_split()
    metrics = run(make_evaluator(SCORE="softmax"), logits, targets)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["=> result", "* total: 64", "* score: softmax"]
    assert lines[-1] == "* threshold: 0.5 (softmax)"
    for name, value in metrics.items():
        # The expression of Dassl's parse_test_res.py --keyword NAME.
        (found,) = re.findall(rf"\* {name}: ([\.\deE+-]+)%", "\n".join(lines))
        assert float(found) == pytest.approx(value, abs=0.005)


@pytest.mark.parametrize("shift, what", [(0, "every class is"), (-99, "no class is"), (-25, "")])
def test_one_answer_to_all_is_told_once(shift, what, capsys):
    logits, targets = make_split()
    evaluator = make_evaluator()
    for _ in range(2):
        run(evaluator, logits + shift, targets)
    told = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert len(told) == bool(what) and all(f"* warning: {what} predicted" in line for line in told)


def test_total_has_a_thousands_separator(capsys):
    logits, targets = make_split(n=1200)
    run(make_evaluator(), logits, targets, batch=500)
    assert "* total: 1,200\n" in capsys.readouterr().out


def test_classes_without_positives_are_left_out_and_named(capsys):
    logits, targets = make_split()
    targets[:, 1] = 0
    targets[:, 3:] = -1
    metrics = run(make_evaluator(), logits, targets)
    aps = naive_aps(logits, targets)
    assert metrics["mAP"] == pytest.approx(mean([aps[0], aps[2]]))
    assert metrics["mAP_head"] == pytest.approx(aps[0])
    assert "mAP_tail" not in metrics
    out = capsys.readouterr().out
    assert "no positives among these images: car, cow, toaster (3 of 5 classes)" in out
    assert "* mAP_tail left out: no positives in any of its 2 classes" in out


def test_groups_without_classes_are_not_reported(capsys):
    evaluator = make_evaluator(describe=False)
    evaluator.describe_classes(torch.tensor(COUNTS), ["head"] * 4 + ["tail"])
    metrics = run(evaluator, *make_split())
    assert "mAP_medium" not in metrics
    assert "left out" not in capsys.readouterr().out
    assert {"mAP_head", "mAP_tail"} < set(metrics)


def test_works_without_names_and_groups():
    logits, targets = make_split()
    evaluator = MultiLabelLongTail(make_cfg())
    metrics = run(evaluator, logits, targets)
    assert [key for key in metrics if key.startswith("mAP_")] == ["mAP_logit", "mAP_softmax"]
    assert evaluator.per_class[3]["name"] == "class 3"
    assert evaluator.per_class[3]["group"] is None


def test_dassl_builds_it_by_its_default_name():
    assert isinstance(
        build_evaluator(make_cfg(), lab2cname=dict(enumerate(NAMES))), MultiLabelLongTail
    )


def test_batches_and_reset_do_not_matter():
    logits, targets = make_split()
    evaluator = make_evaluator()
    whole = run(evaluator, logits, targets, batch=64)
    assert run(evaluator, logits, targets, batch=7) == whole
    assert torch.equal(evaluator.logits, logits)
    assert torch.equal(evaluator.targets, targets)


def test_batches_are_copies():
    """A captured graph returns the same memory for every batch."""
    logits, targets = make_split()
    evaluator = make_evaluator()
    buffer, target_buffer = torch.empty(16, 5), torch.empty(16, 5)
    for part, target_part in zip(logits.split(16), targets.split(16), strict=True):
        evaluator.process(buffer.copy_(part), target_buffer.copy_(target_part))
    assert torch.equal(evaluator.logits, logits)
    assert torch.equal(evaluator.targets, targets)


def test_process_never_waits_for_the_device():
    """Meta tensors hold no data: reading a value from them would raise."""
    evaluator = make_evaluator()
    logits = torch.empty(4, 5, device="meta", dtype=torch.float16)
    evaluator.process(logits, torch.empty(4, 5, device="meta"))
    assert evaluator.logits.dtype == torch.float32


def test_half_precision_logits_and_gradients():
    logits, targets = make_split()
    evaluator = make_evaluator()
    from_half = run(evaluator, logits.half().requires_grad_(), targets)
    assert from_half == run(evaluator, logits.half().float(), targets)


@pytest.mark.parametrize("score", ["sigmoid", "softmax"])
def test_scores_do_not_saturate(score):
    """Logits far beyond CLIP's: fp32 probabilities are 0 or 1, the ranking is still exact."""
    logits, targets = make_split(unknown=0)
    logits = 100 * logits
    own = logits if score == "sigmoid" else logits.double().log_softmax(dim=1)
    metrics = run(make_evaluator(SCORE=score), logits, targets)
    assert metrics["mAP"] == pytest.approx(mean(naive_aps(own, targets)))
    saturated = logits.sigmoid() if score == "sigmoid" else logits.softmax(dim=1)
    assert metrics["mAP"] > mean(naive_aps(saturated, targets)) + 0.5


def test_per_class_result_prints_a_line_for_each(capsys):
    logits, targets = make_split()
    targets[:, 4] = 0
    evaluator = make_evaluator(PER_CLASS_RESULT=True)
    run(evaluator, logits, targets)
    out = capsys.readouterr().out
    assert (
        f"* class: cow\ttrain: 4\tgroup: tail\tpositives: {int((targets[:, 3] == 1).sum())}" in out
    )
    assert re.search(r"\* class: toaster\t.*\tAP: undefined\n", out)


def test_class_indices_point_to_the_stock_evaluator():
    with pytest.raises(ValueError, match="TEST.EVALUATOR Classification"):
        make_evaluator().process(torch.zeros(3, 5), torch.tensor([0, 4, 2]))


def test_wrong_class_number():
    with pytest.raises(ValueError, match=r"\[B, 5\], got \[3, 4\] and \[3, 4\]"):
        make_evaluator().process(torch.zeros(3, 4), torch.zeros(3, 4))
    with pytest.raises(ValueError, match=r"\[B, 5\], got \[3, 5\] and \[2, 5\]"):
        make_evaluator().process(torch.zeros(3, 5), torch.zeros(2, 5))


def test_nan_logits_name_the_class():
    logits, targets = make_split()
    logits[3, 2] = math.nan
    with pytest.raises(ValueError, match=r"NaN in class 2 \(bird\)"):
        run(make_evaluator(), logits, targets)


def test_nothing_to_evaluate():
    with pytest.raises(RuntimeError, match="at least one batch"):
        make_evaluator().evaluate()
    with pytest.raises(ValueError, match="got none in 64 images"):
        run(make_evaluator(), make_split()[0], torch.zeros(64, 5))


def test_config_errors():
    with pytest.raises(ValueError, match="TEST.SCORE must be one of logit, sigmoid, softmax"):
        make_evaluator(SCORE="probability")
    for threshold in (0.0, 1.0):
        with pytest.raises(ValueError, match=r"TEST.THRESHOLD .*\(0, 1\)"):
            make_evaluator(THRESHOLD=threshold)


def test_describe_classes_errors():
    evaluator = make_evaluator(describe=False)
    with pytest.raises(ValueError, match="each of 5 classes, got 4 counts and 5 groups"):
        evaluator.describe_classes(COUNTS[:4], GROUPS)
    with pytest.raises(ValueError, match="got few"):
        evaluator.describe_classes(COUNTS, [*GROUPS[:4], "few"])


@pytest.mark.parametrize("score", ["sigmoid", "softmax"])
def test_chosen_thresholds_add_figures_and_change_none(score, capsys):
    logits, targets = make_split()
    without = run(make_evaluator(SCORE=score), logits, targets)
    probabilities = logits.double().softmax(dim=1) if score == "softmax" else logits.double()
    least = probabilities.sort(dim=0).values[31:33].mean(dim=0)  # half of them above it
    odds = least.logit() if score == "softmax" else least
    model = ScoredModel("LMPT", 3, "abc", score, NAMES)
    rows = [{"name": n, "log_odds": t} for n, t in zip(NAMES, odds.tolist(), strict=True)]
    rule = {"criterion": "f1", "per_class": True}
    evaluator = make_evaluator(SCORE=score)
    evaluator.use_thresholds(Fitted("x", Origin.of(model, "val", 300, "evaluation"), rule, rows))
    capsys.readouterr()
    metrics = run(evaluator, logits, targets)
    assert {key: metrics[key] for key in without} == without
    assert list(metrics)[len(without) :] == [f"{key}_chosen" for key in KEYS[6:]]
    predictions = (probabilities > least).int().tolist()
    expected = naive_threshold_metrics(predictions, targets.tolist())
    found = {key: metrics[f"{key}_chosen"] for key in KEYS[6:]}
    assert found == pytest.approx({key: 100 * value for key, value in expected.items()})
    log = capsys.readouterr().out
    assert "of CP_chosen to OF1_chosen: per class, f1 on val (300 images, epoch 3)" in log


def test_highest_classes_on_demand():
    logits, targets = make_split()
    metrics = run(make_evaluator(TOP_K=(1, 3)), logits, targets)
    for k in (1, 3):
        expected = top_k_metrics(ScoredImages([(logits, targets)]), k)
        assert {name: metrics[name] for name in expected} == expected
    with pytest.raises(ValueError, match="TEST.TOP_K must be .*whole"):
        make_evaluator(TOP_K=(2.5,))


def test_unseen_classes():
    logits, targets = make_split()
    evaluator = make_evaluator(describe=False, TOP_K=(2,))
    evaluator.describe_classes(COUNTS, GROUPS, [True] * 5)
    assert "mAP_zsl" not in run(evaluator, logits, targets)
    evaluator.describe_classes(COUNTS, GROUPS, [True, True, False, True, False])
    metrics = run(evaluator, logits, targets)
    aps = [row["AP"] for row in evaluator.per_class]
    assert metrics["mAP_unseen"] == pytest.approx((aps[2] + aps[4]) / 2)
    assert metrics["mAP_seen"] == pytest.approx((aps[0] + aps[1] + aps[3]) / 3)
    assert "OF1_top2_zsl" in metrics and next(iter(metrics)) == "mAP"


def test_unseen_classes_are_ranked_in_the_space_asked_for():
    logits, targets = make_split()
    linked = make_evaluator(describe=False, SCORE="softmax_link", LINK_CENTRE=25.0, LINK_WIDTH=1.0)
    linked.describe_classes(COUNTS, GROUPS, [True, True, False, True, False])
    metrics = run(linked, logits, targets)
    aps = [row["AP"] for row in linked.per_class]
    assert metrics["mAP_unseen"] == pytest.approx((aps[2] + aps[4]) / 2)
