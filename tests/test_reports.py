from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re

import numpy as np
import pytest
import torch

from evaluation.evaluator import MultiLabelLongTail, extend_cfg
from evaluation.reports import (
    load_results,
    results_table,
    save_scores,
    write_results,
    write_whole,
)

from dassl.config import get_cfg_default  # isort: skip - evaluation makes dassl importable


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


def write(path, evaluator, **changes):
    facts = {
        "trainer": "LMPT",
        "dataset": "VOCLT",
        "backbone": "ViT-B/16",
        "seed": 1,
        "split": "test",
        "epoch": 50,
        "selection": "last_step",
        "config_text": "OPTIM:\n  LR: 0.002\n",
    }
    return write_results(path, evaluator=evaluator, **facts | changes)


def make_result(trainer="LMPT", seed=1, mean_ap=80.0, **changes):
    metrics = {"mAP": mean_ap, "mAP_head": mean_ap - 10, "mAP_tail": mean_ap + 5}
    facts = {
        "trainer": trainer,
        "dataset": "VOCLT",
        "backbone": "RN50",
        "seed": seed,
        "split": "test",
        "score": "softmax",
        "selection": "last_step",
        "metrics": metrics,
        "per_class": [],
    }
    return facts | changes


def test_results_json_says_everything(tmp_path, evaluator):
    evaluator.evaluate()
    path = tmp_path / "new" / "results.json"
    returned = write(path, evaluator, extra_versions={"clip": "2.6.0"})

    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == returned
    assert returned["trainer"] == "LMPT"
    assert returned["epoch"] == 50
    assert returned["score"] == "softmax"
    assert returned["threshold"] == {"value": 0.3, "of": "softmax"}
    assert returned["metrics"] == dict(evaluator.metrics)
    assert returned["per_class"][1]["name"] == "café"
    assert returned["per_class"][2]["AP"] is None
    assert returned["config_sha256"] == hashlib.sha256(b"OPTIM:\n  LR: 0.002\n").hexdigest()
    assert set(returned["versions"]) == {
        "python", "torch", "torchvision", "numpy", "dassl", "clip"
    }  # fmt: skip
    assert re.fullmatch(r"\S+ \((stock|builtin)\)", returned["versions"]["dassl"])
    assert [p.name for p in path.parent.iterdir()] == ["results.json"]  # no temporary file


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
    with pytest.raises(RuntimeError, match="call evaluator.evaluate"):
        write(tmp_path / "results.json", evaluator)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("old")

    def fail(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_scores_load_without_pickle(tmp_path):
    scores, targets = torch.randn(4, 3).double(), torch.tensor([[1, 0, -1]] * 4)
    paths = ["a.jpg", "straße/b.jpg", "c.jpg", "d.jpg"]
    save_scores(tmp_path / "scores.npz", scores.requires_grad_(), targets, paths)
    with np.load(tmp_path / "scores.npz", allow_pickle=False) as file:
        assert set(file) == {"scores", "targets", "paths"}
        np.testing.assert_array_equal(file["scores"], scores.detach().float().numpy())
        np.testing.assert_array_equal(file["targets"], targets.numpy())
        assert file["paths"].tolist() == paths
        assert (file["scores"].dtype, file["targets"].dtype) == (np.float32, np.int8)


def test_scores_shapes(tmp_path):
    with pytest.raises(ValueError, match=r"\[4, 3\], \[4, 3\] and 2"):
        save_scores(tmp_path / "s.npz", torch.zeros(4, 3), torch.zeros(4, 3), ["a", "b"])
    with pytest.raises(ValueError, match=r"\[4, 3\], \[4, 2\] and 4"):
        save_scores(tmp_path / "s.npz", torch.zeros(4, 3), torch.zeros(4, 2), ["a"] * 4)


def test_load_files_and_folders(tmp_path, evaluator):
    evaluator.evaluate()
    for seed in (2, 1):
        write(tmp_path / f"out/LMPT/seed{seed}/results.json", evaluator, seed=seed)
    write(tmp_path / "single.json", evaluator, seed=7)
    (tmp_path / "out/LMPT/other.json").write_text("not ours")

    results = load_results([tmp_path / "out", str(tmp_path / "single.json"), tmp_path / "out/LMPT"])

    assert [r["seed"] for r in results] == [1, 2, 7]  # sorted, each file once
    assert results[0]["path"] == str(tmp_path / "out/LMPT/seed1/results.json")
    assert [r["seed"] for r in load_results(tmp_path / "out/LMPT/seed2")] == [2]


@pytest.mark.parametrize("content", [b'{"trainer": ', b"", b"\xff\xfe\xfa"])
def test_broken_json_is_named(tmp_path, content):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/results.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"a.results.json is not valid JSON"):
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


def test_table_rows_are_means_and_deviations_over_seeds():
    results = [make_result(seed=s, mean_ap=ap) for s, ap in ((1, 80.0), (2, 82.0), (3, 87.0))]
    results.append(make_result("CoOp", mean_ap=70.123))
    table = results_table(results)
    header, _, coop, lmpt = table.splitlines()
    assert header.split()[-5:] == ["seeds", "all", "head", "medium", "tail"]
    assert coop.split() == "VOCLT RN50 CoOp test softmax last_step 1 70.12 60.12 - 75.12".split()
    # mean 83, sample deviation sqrt((9 + 1 + 16) / 2) = 3.61
    assert lmpt.split() == (
        "VOCLT RN50 LMPT test softmax last_step 3 83.00 ± 3.61 73.00 ± 3.61 - 88.00 ± 3.61".split()
    )


@pytest.mark.parametrize("key", ["dataset", "backbone", "split", "score", "selection"])
def test_table_never_averages_across(key):
    table = results_table([make_result(), make_result(seed=2, **{key: "other"})], "csv")
    assert len(table.splitlines()) == 3
    assert "80.00" in table


def test_same_seed_twice_is_an_error():
    with pytest.raises(ValueError, match=r"LMPT on VOCLT have seed 1: a/results.json and b/"):
        results_table(
            [make_result(path="a/results.json"), make_result(path="b/results.json", mean_ap=90.0)]
        )


def test_csv_has_a_number_per_cell():
    results = [make_result(seed=1), make_result(seed=2, mean_ap=82.0), make_result("CoOp")]
    coop, lmpt = csv.DictReader(io.StringIO(results_table(results, "csv")))
    assert (lmpt["trainer"], lmpt["seeds"]) == ("LMPT", "2")
    assert (lmpt["all"], lmpt["all_std"], lmpt["medium"]) == ("81.00", "1.41", "")
    assert (coop["all"], coop["all_std"]) == ("80.00", "")


def test_markdown_and_latex():
    results = [make_result(seed=1), make_result(seed=2, mean_ap=82.0)]
    markdown = results_table(results, "markdown").splitlines()
    assert markdown[1].startswith("|:--")
    assert "| 81.00 ± 1.41 |" in markdown[2]
    latex = results_table(results, "latex")
    assert r"\toprule" in latex
    assert r"last\_step" in latex
    assert r"81.00 $\pm$ 1.41" in latex


@pytest.mark.parametrize("fmt", ["plain", "markdown", "csv", "latex"])
def test_two_decimals_always(fmt):
    assert "80.00" in results_table([make_result()], fmt)


def test_table_errors():
    with pytest.raises(ValueError, match="plain, markdown, csv, latex, got 'html'"):
        results_table([make_result()], "html")
    with pytest.raises(ValueError, match="at least one result"):
        results_table([])
