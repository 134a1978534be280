from __future__ import annotations

import hashlib
import json
import math
import re

import pytest
import torch

from evaluation.evaluator import MultiLabelLongTail, extend_cfg
from evaluation.fitted.fitted_files import Fitted, Origin, ScoredModel
from evaluation.results.reports import load_results, runs_by_method, select_trainers
from evaluation.results.result_writer import EvaluatedRun, write_results

from dassl.config import get_cfg_default  # isort: skip - evaluation makes dassl importable
from dassl.evaluation import Classification  # isort: skip


@pytest.fixture
def evaluator():
    cfg = get_cfg_default()
    extend_cfg(cfg)
    cfg.TEST.SCORE, cfg.TEST.THRESHOLD = "softmax", 0.3
    evaluator = MultiLabelLongTail(cfg, lab2cname={0: "person", 1: "café", 2: "toaster"})
    evaluator.describe_classes([200, 30, 5], ["head", "medium", "tail"])
    targets = (torch.arange(30).reshape(10, 3) % 4 == 0).float()
    targets[:, 2] = 0
    evaluator.process(torch.randn(10, 3, generator=torch.Generator().manual_seed(0)), targets)
    return evaluator


def write(path, evaluator, metrics=None, more=None, **changes):
    facts = {
        "trainer": "LMPT",
        "dataset": "VOCLT",
        "backbone": "ViT-B/16",
        "seed": 1,
        "split": "test",
        "epoch": 50,
        "selection": "last_step",
    }
    metrics = getattr(evaluator, "metrics", None) if metrics is None else metrics
    run = EvaluatedRun(**facts | changes)
    return write_results(path, run, evaluator, metrics, "OPTIM:\n  LR: 0.002\n", more)


def test_results_json_says_everything(tmp_path, evaluator):
    evaluator.evaluate()
    path = tmp_path / "new" / "results.json"
    returned = write(path, evaluator, seconds=90.5)

    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == returned
    assert returned["trainer"] == "LMPT"
    assert returned["epoch"] == 50
    assert returned["score"] == "softmax"
    assert returned["seconds"] == 90.5
    assert returned["threshold"] == {"value": 0.3, "of": "softmax"}
    assert returned["metrics"] == dict(evaluator.metrics)
    assert returned["per_class"][1]["name"] == "café"
    assert returned["per_class"][2]["AP"] is None
    assert returned["config_sha256"] == hashlib.sha256(b"OPTIM:\n  LR: 0.002\n").hexdigest()
    assert set(returned["versions"]) == {"python", "torch", "torchvision", "numpy", "dassl"}
    assert re.fullmatch(r"\S+ \((stock|builtin)\)", returned["versions"]["dassl"])
    assert [p.name for p in path.parent.iterdir()] == ["results.json"]  # no temporary file


def test_results_say_where_chosen_thresholds_come_from(tmp_path, evaluator):
    evaluator.evaluate()
    without = write(tmp_path / "results.json", evaluator)
    names = ["person", "café", "toaster"]
    origin = Origin.of(ScoredModel("LMPT", 50, "abc", "softmax", names), "val", 300, "evaluation")
    rows = [{"name": name, "log_odds": -1.0} for name in names]
    evaluator.use_thresholds(Fitted("x", origin, {"criterion": "precision=0.9"}, rows))
    evaluator.evaluate()
    found = write(tmp_path / "results.json", evaluator)
    assert set(found) - set(without) == {"chosen_thresholds"}
    assert found["chosen_thresholds"]["criterion"] == "precision=0.9"
    assert found["chosen_thresholds"]["origin"]["split"] == "val"
    assert found["chosen_thresholds"]["origin"]["images"] == 300
    assert "CF1_chosen" in found["metrics"]


def test_nan_becomes_null(tmp_path, evaluator):
    evaluator.evaluate()
    evaluator.metrics["mAP_tail"] = math.nan
    evaluator.per_class[0]["AP"] = math.inf
    path = tmp_path / "results.json"
    write(path, evaluator)

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    loaded = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert loaded["metrics"]["mAP_tail"] is None
    assert loaded["per_class"][0]["AP"] is None


def test_results_need_an_evaluation(tmp_path, evaluator):
    with pytest.raises(ValueError, match="call evaluator.evaluate"):
        write(tmp_path / "results.json", evaluator)
    assert list(tmp_path.iterdir()) == []


def test_an_evaluator_of_single_labels_has_metrics_alone(tmp_path):
    evaluator = Classification(get_cfg_default())
    evaluator.process(torch.eye(3), torch.tensor([0, 1, 1]))
    returned = write(tmp_path / "results.json", evaluator, metrics=evaluator.evaluate(), epoch=None)
    assert returned["metrics"]["accuracy"] == pytest.approx(200 / 3)
    assert returned["per_class"] == []
    for key in ("score", "threshold", "seconds", "epoch"):
        assert returned[key] is None
    (method,) = runs_by_method(load_results(tmp_path))
    assert method == ("VOCLT", "ViT-B/16", "LMPT", "-", "test", "-", "last_step")


def test_load_files_and_folders(tmp_path, evaluator):
    evaluator.evaluate()
    for seed in (2, 1):
        write(tmp_path / f"out/LMPT/seed{seed}/results.json", evaluator, seed=seed)
    write(tmp_path / "single.json", evaluator, seed=7)
    write(tmp_path / "sweep/trial3/results.json", evaluator)
    (tmp_path / "out/LMPT/other.json").write_text("not ours")

    results = load_results([tmp_path / "out", str(tmp_path / "single.json"), tmp_path / "out/LMPT"])

    assert [r["seed"] for r in results] == [1, 2, 7]  # sorted, each file once
    assert results[0]["path"] == str(tmp_path / "out/LMPT/seed1/results.json")
    assert [r["config"] for r in results] == ["LMPT", "LMPT", None]  # the folder above seed<k>
    assert [r["seed"] for r in load_results(tmp_path / "out/LMPT/seed2")] == [2]
    assert load_results(tmp_path / "sweep")[0]["config"] == "trial3"


@pytest.mark.parametrize("content", [b'{"trainer": ', b"", b"\xff\xfe\xfa"])
def test_broken_json_is_named(tmp_path, content):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/results.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"a.results.json.* not (valid JSON|UTF-8 text)"):
        load_results(tmp_path)


@pytest.mark.parametrize("content", ['{"trainer": "LMPT"}', "[1]"])
def test_foreign_json_is_named(tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(ValueError, match=r"results.json is not a results file.*metrics"):
        load_results(tmp_path / "results.json")


def test_missing_paths(tmp_path):
    with pytest.raises(FileNotFoundError, match="no results.json in"):
        load_results(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nowhere"):
        load_results(tmp_path / "nowhere")


def test_chosen_trainers_come_in_the_order_of_their_names():
    results = [{"trainer": name, "seed": n} for n in (1, 2) for name in ("CoOp", "LMPT", "PVLR")]
    chosen = select_trainers(results, ["lmpt", "CoOp"])
    assert [(r["trainer"], r["seed"]) for r in chosen] == [
        *(("LMPT", 1), ("LMPT", 2), ("CoOp", 1), ("CoOp", 2)),
    ]
    with pytest.raises(
        ValueError, match="one of CoOp, LMPT, PVLR, got 'LMTP'. Did you mean 'LMPT'"
    ):
        select_trainers(results, ["LMTP"])
