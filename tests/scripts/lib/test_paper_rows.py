"""Rows of the papers' tables: each is a run that the project can build."""

from __future__ import annotations

from pathlib import Path

import pytest

import train
from scripts.lib.paper_rows import ROOT, lines
from scripts.lib.paper_tables import TABLES

BACKBONES = {"rn50": "RN50", "rn101": "RN101", "vit_b16": "ViT-B/16", "vit_b32": "ViT-B/32"}
PLACES = [(table, backbone) for table, found in TABLES.items() for backbone in found.backbones]
SHARES = [f"0.{tenth}" for tenth in range(1, 10)]


def parts(table, backbone, *trainers):
    """Seeds, runs and ensembles of a table, in words."""
    found = {"seeds": [], "run": [], "mix": []}
    for kind, *words in lines(table, backbone, list(trainers)):
        found[kind].append(words)
    return found["seeds"], found["run"], found["mix"]


def built(dataset, trainer, cfg, mark, *keys):
    """The config of a row, with CFG split as compare.sh does."""
    backbone = next(name for name in BACKBONES if f"{cfg}_".startswith(f"{name}_"))
    recipe = cfg.removeprefix(backbone).strip("_")
    words = ["--trainer", trainer, "--backbone", backbone, *keys]
    words += ["--dataset-config-file", str(ROOT / f"configs/datasets/{dataset}.yaml")]
    if recipe:
        words += ["--config-file", str(ROOT / f"configs/trainers/{trainer}/{recipe}.yaml")]
    found = train.build_cfg(train.build_parser().parse_intermixed_args(words))
    assert found.MODEL.BACKBONE.NAME == BACKBONES[backbone]
    return found


@pytest.mark.parametrize(("table", "backbone"), PLACES)
def test_each_row_builds_and_lies_in_a_folder_of_its_own(table, backbone):
    (seeds,), runs, mixes = parts(table, backbone)
    assert seeds == ["1 2 3 4 5" if table.endswith("_lt") else "1 2 3"]
    folders = [tuple(words[:4]) for words in runs]
    assert len(set(folders)) == len(runs)
    for weight, first, second in mixes:
        pair = [runs[int(place)] for place in (first, second)]
        assert 0 < float(weight) < 1 and pair[0][1] != pair[1][1]
        for row in pair:
            assert row[-2:] == ["TEST.SAVE_SCORES", "all"], "an ensemble is scaled by them"
    alike = {}  # shares of known labels are tried once
    for words in runs:
        others = [word for word in words if not word.startswith(("0.", "LABEL_"))]
        alike[tuple(others)] = words
    for words in alike.values():
        built(*words)


def test_the_lmpt_paper_s():
    for dataset, backbone in (("voc_lt", "rn50"), ("coco_lt", "rn50"), ("voc_lt", "vit_b16")):
        _, runs, _ = parts(dataset, backbone)
        found = {words[1]: built(*words) for words in runs}
        assert all(
            cfg.DATASET.CLASSNAMES == ("raw" if dataset == "voc_lt" else "clean")
            for cfg in found.values()
        )
        assert found["LMPT"].OPTIM.LR == (5e-4 if dataset == "voc_lt" else 1e-4)
        assert found["LMPT"].OPTIM.MAX_EPOCH == 30 and found["LMPT"].TRAINER.LMPT.PRESET == "paper"
        assert set(found) >= {"ZeroshotCLIP", "CoOp", "CoCoOp"}
        assert ("DualCoOp" in found) == ("TaIDPT" in found) == (backbone == "rn50")
        if backbone == "rn50":
            assert found["DualCoOp"].OPTIM.LR == (1e-3 if dataset == "voc_lt" else 2e-3)
            assert found["DualCoOp"].INPUT.SIZE[0] == 448
            assert found["TaIDPT"].DATASET.TEXT_AS_IMAGE


def test_paper_recipes_are_used_wherever_there_is_one():
    having = {path.parent.name for path in Path(ROOT, "configs/trainers").glob("*/paper.yaml")}
    _, runs, _ = parts("voc_lt", "rn50")
    assert {words[1] for words in runs if words[2] == "rn50_paper"} == having


@pytest.mark.parametrize(
    ("table", "recipes"),
    [
        ("voc07-partial", ["rn101_voc07_partial", "rn101_tai_dpt"]),
        ("coco14-partial", ["rn101_coco14_partial", "rn101_tai_dpt"]),
        ("nus-partial", ["rn101_tai_dpt"]),
    ],
)
def test_partial_labels(table, recipes):
    _, runs, mixes = parts(table, "rn101")
    texts, *images = runs
    assert texts[1] == "TaIDPT" and texts[2].startswith("rn50_")
    planned = [(w[2], w[w.index("DATASET.LABEL_PROPORTION") + 1]) for w in images]
    assert planned == [(recipe, share) for recipe in recipes for share in SHARES]
    last = [str(1 + place) for place in range(len(images))][-9:]
    assert mixes == [["0.1", place, "0"] for place in last]
    cfg = built(*images[0])
    assert cfg.DATASET.LABEL_MASK == "hcp" and cfg.INPUT.SIZE == (448, 448)
    star = built(*images[-9])
    assert star.DATASET.UNLABELED == "keep" and star.TRAINER.DUALCOOP.REGION_SCALE_LEARNABLE
    assert star.DATASET.CLASSNAMES == built(*texts).DATASET.CLASSNAMES  # the same classes
    assert star.DATALOADER.TRAIN_X.BATCH_SIZE == (192 if table == "nus-partial" else 64)


def test_unseen_classes():
    _, runs, _ = parts("nus-zero-shot", "rn50")
    cfg = built(*runs[-1])
    assert cfg.DATASET.CLASS_SPLIT == "nus_wide_925_81" and not cfg.TRAINER.DUALCOOP.CSC
    assert cfg.TRAINER.DUALCOOP.CLASSES_PER_STEP == 100
    # A sum over 32 images weighted 0.01 at the authors' 1e-3, as steps of SGD on a mean.
    weight = 0.01 * 32
    assert pytest.approx(1e-3 * weight) == cfg.OPTIM.LR
    assert pytest.approx(5e-4 / weight) == cfg.OPTIM.WEIGHT_DECAY
    coco = built(*parts("coco14-zero-shot", "rn101")[1][-1])
    assert pytest.approx(2e-3 * weight) == coco.OPTIM.LR
    assert coco.TRAINER.DUALCOOP.CLASSES_PER_STEP == 0
    assert coco.DATASET.CLASS_SPLIT == "coco_48_17"


def test_texts_alone_and_few_shots():
    _, runs, _ = parts("nus-text-only", "rn50")
    assert [built(*w).DATASET.UNLABELED for w in runs] == ["drop", "keep", "keep"]
    assert [w[1] for w in parts("voc07-text-only", "vit_b16")[1]] == ["ZeroshotCLIP"]
    _, runs, mixes = parts("coco14-few-shot", "rn50")
    found = [built(*words).DATASET for words in runs]
    shots = [(max(own.NUM_SHOTS, 0), own.CLASS_SPLIT != "") for own in found]
    assert shots == [
        *((0, True), (0, False), (0, True), (0, False)),
        *((1, True), (5, True)),
        *((shots, False) for shots in (1, 2, 4, 8, 16)),
    ]
    assert mixes == [["0.4", str(place), "3"] for place in range(6, 11)]


def test_trainers_are_chosen():
    _, runs, mixes = parts("voc07-partial", "rn101", "DualCoOp")
    assert len(runs) == 18 and mixes == []
    with pytest.raises(ValueError, match="rows are TaIDPT DualCoOp"):
        parts("voc07-partial", "rn101", "LMPT")
    with pytest.raises(ValueError, match="Did you mean 'voc07-partial'"):
        parts("voc7-partial", "rn101")
    with pytest.raises(ValueError, match="BACKBONE must be one of rn101"):
        parts("voc07-partial", "rn50")
