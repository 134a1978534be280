from __future__ import annotations

import csv
import io

import pytest

from evaluation.comparing.published import PUBLISHED, published_table
from tests.helpers import small_results

ROWS = """method,backbone,dataset,protocol,metric,total,head,medium,tail,source
LMPT,RN50,VOC-LT,,mAP_softmax,85.00,,,,a page https://example.org/a
DualCoOp++,,VOC-LT,,mAP_softmax,81.00,,,,another
TaI-DPT,RN50,VOC-LT,,mAP_softmax,83.00,70.00,,90.00,a third
LMPT,RN50,COCO-LT,,mAP_softmax,58.00,,,,a page
DualCoOp,RN101,VOC07,partial 10%; 448 px,mAP,90.00,,,,a fourth
DualCoOp,RN101,VOC07,partial 20%; 448 px,mAP,92.00,,,,a fourth
SARB,RN101,VOC07,partial 10%,mAP,83.00,,,,a fourth
DualCoOp,RN101,VOC07,partial 10%,OF1_top3,60.00,,,,a fifth
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "published.csv").write_text(ROWS)
    return tmp_path / "published.csv"


def make_result(trainer="LMPT", seed=1, mean_ap=86.0, **changes):
    metrics = {"mAP": 1.0, "mAP_softmax": mean_ap, "mAP_head": 75.0, "mAP_tail": 88.0}
    facts = {"metrics": metrics, "per_class": [], "config": "rn50"}
    return small_results.make_result(trainer, seed, **facts | changes)


def joined(results, path):
    rows = csv.DictReader(io.StringIO(published_table(results, "csv", path=path)))
    return {(row["method"], row["classes"]): row for row in rows}


def test_ours_minus_the_published_figure_in_a_column_of_its_own(path):
    results = [make_result(seed=1), make_result(seed=2, mean_ap=88.0)]
    row = joined(results, path)["LMPT", "total"]
    figures = ("ours", "ours_std", "published", "difference", "seeds", "source")
    assert [row[name] for name in figures] == [
        *("87.00", "1.41", "85.00", "2.00", "2", "a page https://example.org/a"),
    ]
    text = published_table(results, path=path)
    assert "87.00 ± 1.41        85.00         +2.00    a page\n" in text
    assert "percent, mean ± standard deviation over seeds" in text.splitlines()[0]


@pytest.mark.parametrize(
    ("trainer", "published"), [("TaIDPT", "TaI-DPT"), ("DualCoOpPP", "DualCoOp++")]
)
def test_names_are_mapped(trainer, published, path):
    found = joined([make_result(trainer)], path)
    assert found[published, "total"]["ours"] == "86.00"
    assert found["LMPT", "total"]["ours"] == ""  # published alone
    assert not any(method == trainer for method, _ in found)


def test_a_backbone_that_is_not_stated_is_any_and_others_must_agree(path):
    found = joined([make_result("DualCoOpPP", backbone="ViT-B/16")], path)
    assert found["DualCoOp++", "total"]["difference"] == "5.00"
    assert found["DualCoOp++", "total"]["backbone"] == "not stated"
    other = joined([make_result("TaIDPT", backbone="ViT-B/16")], path)
    assert other["TaI-DPT", "total"]["ours"] == ""
    assert other["TaIDPT", "total"]["ours"] == "86.00"  # ours alone
    assert other["TaIDPT", "total"]["published"] == ""


def test_groups_are_compared_in_the_softmax_space_alone(path):
    softmax = joined([make_result("TaIDPT")], path)
    assert softmax["TaI-DPT", "head"]["difference"] == "5.00"
    assert softmax["TaI-DPT", "tail"]["difference"] == "-2.00"
    assert ("TaI-DPT", "medium") not in softmax
    logit = joined([make_result("TaIDPT", score="logit")], path)
    assert logit["TaI-DPT", "total"]["difference"] == "3.00"
    assert logit["TaI-DPT", "head"]["ours"] == "" and logit["TaI-DPT", "head"]["published"]


def test_protocol_and_metric_are_joined(path):
    def table(protocol):
        metrics = {"mAP": 91.0, "mAP_softmax": 1.0, "OF1_top3": 58.0}
        facts = {"backbone": "RN101", "dataset": "VOC07", "score": "logit", "metrics": metrics}
        results = [make_result("DualCoOp", **facts, **({"protocol": protocol} if protocol else {}))]
        rows = csv.DictReader(io.StringIO(published_table(results, "csv", path=path)))
        return [
            (r["method"], r["protocol"], r["metric"], r["published"], r["difference"]) for r in rows
        ]

    assert table("partial 10%") == [
        ("DualCoOp", "partial 10%; 448 px", "mAP", "90.00", "1.00"),
        ("SARB", "partial 10%", "mAP", "83.00", ""),
        ("DualCoOp", "partial 10%", "OF1_top3", "60.00", "-2.00"),
    ]
    assert table("full labels") == [("DualCoOp", "full labels", "mAP", "", "")]
    assert table("") == [("DualCoOp", "not stated", "mAP", "", "")]  # of an earlier version


def test_means_and_both_zero_shot_protocols_are_joined(path):
    with path.open("a") as file:
        file.write("DualCoOp,RN101,VOC07,partial mean 10-90%; 448 px,mAP,93.00,,,,a sixth\n")
        file.write("DualCoOp,RN50,COCO14,48/17 ZSL,mAP,78.00,,,,a seventh\n")
        file.write("DualCoOp,RN50,COCO14,48/17 GZSL,OP_top3,58.00,,,,a seventh\n")
    voc = {"backbone": "RN101", "dataset": "VOC07", "score": "logit"}
    results = [
        make_result("DualCoOp", seed, config=f"c_LABEL_PROPORTION{p / 100:g}", **voc)
        | {"protocol": f"partial {p}%", "metrics": {"mAP": 85.0 + p / 10 + seed}}
        for seed in (1, 2)
        for p in range(10, 100, 10)
    ]
    metrics = {"mAP": 70.0, "mAP_zsl": 77.0, "OP_top3": 50.0, "OP_top3_zsl": 1.0}
    zero_shot = {"dataset": "COCO14", "protocol": "coco_48_17 full labels", "metrics": metrics}
    table = published_table([*results, make_result("DualCoOp", **zero_shot)], "csv", path=path)
    found = {
        (r["protocol"], r["metric"], r["method"]): r for r in csv.DictReader(io.StringIO(table))
    }
    mean = found["partial mean 10-90%; 448 px", "mAP", "DualCoOp"]
    assert [mean[k] for k in ("config", "seeds", "ours", "difference")] == [
        "c",
        "2",
        "91.50",
        "-1.50",
    ]
    ten = found["partial 10%; 448 px", "mAP", "DualCoOp"]
    assert (ten["config"], ten["ours"]) == ("c_LABEL_PROPORTION0.1", "87.50")
    assert found["48/17 ZSL", "mAP", "DualCoOp"]["ours"] == "77.00"
    assert found["48/17 GZSL", "OP_top3", "DualCoOp"]["ours"] == "50.00"


def test_every_published_protocol_can_be_one_of_ours():
    """But for those of methods or data that are not ours to run."""
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        stated = {row["protocol"].partition(";")[0] for row in csv.DictReader(file)}
    for protocol in ("partial 10%", "partial mean 10-90%", "48/17 ZSL", "48/17 GZSL", "925/81 ZSL",
                     "16 novel classes, 0-shot", "16 novel classes, 1-shot", "zero-shot",
                     "16 novel classes, 5-shot", "text-only training", "full labels",
                     "zero-shot, images with labels", "text-only training, difficult positive",
                     "text-only training, difficult-only ignored",
                     "full labels, 119103/50720 split"):  # fmt: skip
        assert protocol in stated, protocol


def test_only_data_sets_with_runs_are_shown(path):
    table = published_table([make_result(dataset="COCOLT")], path=path)
    assert "+28.00" in table and "VOC-LT" not in table
    with pytest.raises(ValueError, match="are of VOC-LT, COCO-LT, VOC07, runs of ShapesLT"):
        published_table([make_result(dataset="ShapesLT")], path=path)


def test_the_file_of_this_project_is_read():
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["dataset"] == "VOC-LT"]
    found = joined([make_result("ZeroshotCLIP")], PUBLISHED)
    assert {(row["method"], "total") for row in rows} < set(found)
    assert found["ZeroshotCLIP", "total"]["published"] == ""
