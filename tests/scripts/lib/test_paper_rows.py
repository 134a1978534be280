"""Rows of the LMPT paper's tables: each is a run that the project can build."""

from __future__ import annotations

from pathlib import Path

import pytest

import train
from scripts.lib.paper_rows import KEYS, ROOT, TRAINERS, rows


@pytest.mark.parametrize("dataset", KEYS)
@pytest.mark.parametrize("backbone", TRAINERS)
def test_each_row_builds_with_its_recipe(dataset, backbone):
    found = {}
    for trainer, cfg, *keys in rows(dataset, backbone):
        recipe = ROOT / f"configs/trainers/{trainer}/{cfg.removeprefix(backbone).strip('_')}.yaml"
        words = ["--trainer", trainer, "--backbone", backbone, *keys]
        words += ["--dataset-config-file", str(ROOT / f"configs/datasets/{dataset}.yaml")]
        words += ["--config-file", str(recipe)] if cfg != backbone else []
        built = train.build_cfg(train.build_parser().parse_intermixed_args(words))
        assert built.MODEL.BACKBONE.NAME == {"rn50": "RN50", "vit_b16": "ViT-B/16"}[backbone]
        assert built.DATASET.CLASSNAMES == ("raw" if dataset == "voc_lt" else "clean")
        found[trainer] = built
    assert found["LMPT"].OPTIM.LR == (5e-4 if dataset == "voc_lt" else 1e-4)
    assert found["LMPT"].OPTIM.MAX_EPOCH == 30 and found["LMPT"].TRAINER.LMPT.PRESET == "paper"
    assert set(found) >= {"ZeroshotCLIP", "CoOp", "CoCoOp"}
    if backbone == "rn50":
        assert found["DualCoOp"].OPTIM.LR == (1e-3 if dataset == "voc_lt" else 2e-3)
        assert found["DualCoOp"].INPUT.SIZE[0] == 448 and found["TaIDPT"].DATASET.TEXT_AS_IMAGE


def test_paper_recipes_are_used_wherever_there_is_one():
    having = {path.parent.name for path in Path(ROOT, "configs/trainers").glob("*/paper.yaml")}
    used = {trainer for trainer, cfg, *_ in rows("voc_lt", "rn50") if cfg == "rn50_paper"}
    assert used == having
