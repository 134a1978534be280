"""What runs need: what is said of it, and what is asked for."""

from __future__ import annotations

import io
import shlex
import shutil
import sys

import pytest

from scripts.lib import reproduction_needs
from scripts.lib.paper_rows import ROOT
from tests.helpers.sets.small_archives import TEST, write_voc


@pytest.fixture
def needs(tmp_path, monkeypatch, capsys):
    """Says what the runs of some trainers need; returns the exit status and the text."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write_voc(tmp_path / "data")

    def say(*words, trainers=("LMPT",), finished=0, dataset="voc_lt", backbones=("rn50", "rn50")):
        lines = ["== LMPT, seed 9: finished before (remove x to run it again)"] * finished
        for trainer, backbone in zip(trainers, backbones, strict=False):
            flags = ["--output-dir", f"{trainer}/seed1", "--trainer", trainer, "--seed", "1"]
            flags += ["--root", str(tmp_path / "data"), "--backbone", backbone]
            flags += ["--dataset-config-file", str(ROOT / f"configs/datasets/{dataset}.yaml")]
            if trainer == "TaIDPT":
                flags += ["--config-file", str(ROOT / "configs/trainers/TaIDPT/paper.yaml")]
            lines.append(shlex.join(["python", "train.py", *flags, *words]))
        monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines)))
        status = reproduction_needs.main()
        return status, capsys.readouterr().out

    return say


TRIAL = ("DATASET.MISSING", "skip", "MODEL.BACKBONE.NAME", "tiny")


def test_a_trial_needs_what_is_there(needs):
    status, text = needs(*TRIAL, finished=2)
    assert status == 0 and "Runs: 3, of which 2 are finished." in text
    assert "train pictures" in text and "3 of 3" in text and "Absent" not in text
    assert "not known" in text  # nobody has measured the tiny CLIP with three classes


def test_the_figures_of_other_lists_are_not_to_be_compared(needs):
    status, text = needs("MODEL.BACKBONE.NAME", "tiny")
    assert status == 1 and "DATASET.MISSING skip, for a trial" in text
    assert "LMPT/aab39caca28362bfb9d9340f9c8a5cd75614e130/data/voc/voc_lt_train.txt" in text


def test_absent_weights(needs, tmp_path):
    status, text = needs("DATASET.MISSING", "skip")
    assert status == 1 and f"to     {tmp_path}/home/.cache/clip/RN50.pt" in text
    assert "SHA256 afeb0e10" in text and "RN101" not in text
    two = needs(
        "DATASET.MISSING", "skip", trainers=("LMPT", "DualCoOp"), backbones=("rn50", "rn101")
    )
    assert two[1].count("/RN50.pt, absent") == two[1].count("/RN101.pt, absent") == 1
    place = tmp_path / "home/.cache/clip/RN50.pt"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"x")
    assert needs("DATASET.MISSING", "skip")[0] == 0


def test_absent_pictures_and_lists(needs, tmp_path):
    (tmp_path / "data/voc" / TEST / "000001.jpg").unlink()
    assert needs(*TRIAL)[0] == 0
    status, text = needs("MODEL.BACKBONE.NAME", "tiny")
    assert status == 1 and "1 pictures are absent" in text
    assert "VOCtest_06-Nov-2007.tar" in text and "VOCtrainval" not in text
    shutil.rmtree(tmp_path / "data/voc" / TEST)
    status, text = needs(*TRIAL)
    assert status == 1 and "test pictures: absent" in text
    (tmp_path / "data/voc/voc_lt_train.txt").unlink()
    status, text = needs(*TRIAL)
    assert status == 1 and "voc_lt_train.txt" in text and "a list is absent" in text


def test_absent_captions_of_coco(needs, tmp_path):
    status, text = needs(*TRIAL, trainers=("LMPT", "TaIDPT"))
    path = tmp_path / "data/coco/annotations/captions_train2017.json"
    assert status == 1 and f"to {path}\n" in text and "annotations_trainval2017.zip" in text
    assert needs(*TRIAL, "DATASET.TEXTS", "", trainers=("TaIDPT",))[0] == 0
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    assert needs(*TRIAL, trainers=("TaIDPT",))[0] == 0


def test_another_data_set(needs):
    with pytest.raises(ValueError, match="DATASET.NAME must be one of VOCLT, COCOLT, VOC07"):
        needs("DATASET.NAME", "ListLT")


def test_official_archives_of_the_standard_sets(needs, tmp_path):
    status, text = needs("MODEL.BACKBONE.NAME", "tiny", dataset="voc07")
    assert status == 1 and "VOCtrainval_06-Nov-2007.tar" in text and "VOCtest_06-Nov" in text
    assert "prepare_data.py voc07" in text
    status, text = needs("MODEL.BACKBONE.NAME", "tiny", dataset="coco14")
    for archive in ("annotations_trainval2014.zip", "train2014.zip", "val2014.zip"):
        assert text.count(f"/{archive}\n    to ") == 1
    status, text = needs("MODEL.BACKBONE.NAME", "tiny", dataset="nus_wide")
    assert "NUS_WID_Tags.zip" in text and "on request alone" in text
    assert "prepare_data.py nus-wide --root" in text
    (tmp_path / "data/nus_wide").mkdir()
    words = (
        "MODEL.BACKBONE.NAME",
        "tiny",
        "DATASET.TEXT_AS_IMAGE",
        "True",
        "DATASET.TEXTS",
        "a.txt",
    )
    text = needs(*words, dataset="nus_wide")[1]
    assert "nus_wide/a.txt: LMPT trains on it; the head of its recipe" in text


def test_hours_of_published_counts_where_lists_are_absent(needs):
    text = needs("TRAINER.SAMPLER", "random", "OPTIM.MAX_EPOCH", "50", dataset="voc07")[1]
    assert "train images is absent: 5,011 are taken, as published" in text
    (line,) = (line.split() for line in text.splitlines() if line.startswith("LMPT"))
    assert line[:4] == ["LMPT", "1", "50", "3,950"]  # 79 batches of 64
    steps, views = 3950 * 0.276, (2 * 5011 + 4952) * 17 / 320
    assert float(line[4]) == pytest.approx((steps + views) / 3600, abs=0.06)
    zero = ("DATASET.CLASS_SPLIT", "nus_wide_925_81", "OPTIM.MAX_EPOCH", "50")
    text = needs(*zero, dataset="nus_wide", trainers=("DualCoOp",))[1]
    (line,) = (line.split() for line in text.splitlines() if line.startswith("DualCoOp"))
    one_pass = 0.276 + (0.937 - 0.276) * (1006 - 20) / 60
    steps, views = 50 * 2528 * 2 * one_pass, (2 * 161_789 + 107_859) * 17 / 320
    assert float(line[4]) == pytest.approx((steps + views) / 3600, abs=0.06)
