from __future__ import annotations

import pytest
from dassl.engine import TRAINER_REGISTRY, TrainerX

import train
from common.config import recipes
from configuration import build_cfg


def cfg_of(*words):
    return build_cfg(train.build_parser().parse_intermixed_args(["--trainer", "LMPT", *words]))


@pytest.fixture
def configs(tmp_path, monkeypatch):
    """A folder of configs with one backbone and two recipes."""
    (tmp_path / "backbones").mkdir()
    (tmp_path / "trainers" / "LMPT").mkdir(parents=True)
    (tmp_path / "backbones" / "vit_b16.yaml").write_text(
        "MODEL: {BACKBONE: {NAME: ViT-B/16}}\nINPUT: {SIZE: [32, 32]}\nOPTIM: {LR: 0.5}\n"
    )
    (tmp_path / "trainers/LMPT/recommended.yaml").write_text("OPTIM: {LR: 0.25}\n")
    monkeypatch.setattr(recipes, "CONFIGS", tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["vit_b16", "ViT-B/16", "VIT-b/16"])
@pytest.mark.parametrize("spelling", [("--backbone",), ("MODEL.BACKBONE.NAME",)])
def test_a_backbone_brings_its_file_under_each_of_its_names(configs, name, spelling):
    cfg = cfg_of(*spelling, name)
    assert cfg.MODEL.BACKBONE.NAME == "ViT-B/16"
    assert cfg.INPUT.SIZE == (32, 32)


def test_a_recipe_comes_after_the_backbone_and_overrides_come_last(configs):
    assert cfg_of("--backbone", "vit_b16").OPTIM.LR == 0.25
    (configs / "trainers/LMPT/vit_b16.yaml").write_text("OPTIM: {LR: 0.125}\n")
    assert cfg_of("--backbone", "vit_b16").OPTIM.LR == 0.125
    assert cfg_of("--backbone", "RN50").OPTIM.LR == 0.25
    mine = configs / "mine.yaml"
    mine.write_text("INPUT: {SIZE: [48, 48]}\n")
    chosen = cfg_of("--backbone", "vit_b16", "--config-file", str(mine))
    assert (chosen.OPTIM.LR, chosen.INPUT.SIZE) == (0.5, (48, 48))
    assert cfg_of("--backbone", "vit_b16", "OPTIM.LR", "2.0").OPTIM.LR == 2.0


def test_the_backbone_that_a_config_file_names_brings_its_file(configs):
    mine = configs / "mine.yaml"
    mine.write_text("MODEL: {BACKBONE: {NAME: vit_b16}}\n")
    assert cfg_of("--config-file", str(mine)).INPUT.SIZE == (32, 32)
    small = cfg_of("--config-file", str(mine), "--backbone", "RN50")
    assert small.MODEL.BACKBONE.NAME == "RN50" and small.INPUT.SIZE != (32, 32)


def test_a_yaml_file_is_a_backbone_if_it_names_one(configs):
    file = configs / "mine.yaml"
    file.write_text("MODEL: {BACKBONE: {NAME: weights.pt}}\nINPUT: {SIZE: [64, 64]}\n")
    cfg = cfg_of("--backbone", str(file))
    assert (cfg.MODEL.BACKBONE.NAME, cfg.INPUT.SIZE) == ("weights.pt", (64, 64))
    file.write_text("INPUT: {SIZE: [64, 64]}\n")
    with pytest.raises(ValueError, match=r"mine.yaml is no file for a backbone: it does not set"):
        cfg_of("--backbone", str(file))


def test_a_weight_file_takes_the_recommended_recipe(configs):
    cfg = cfg_of("--backbone", "weights/vit_b16.pt")
    assert (cfg.MODEL.BACKBONE.NAME, cfg.OPTIM.LR) == ("weights/vit_b16.pt", 0.25)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("vit_b16", r"Instead of it: --backbone vit_b16, which takes"),
        ("vit_b16_recommended", r"Instead of it: --backbone vit_b16 --config-file .*recommended"),
        ("vit_b16_other", r"vit_b16_other.yaml\.$"),
    ],
)
def test_a_missing_file_named_after_a_backbone_is_answered_with_the_flags(configs, name, advice):
    with pytest.raises(FileNotFoundError, match=advice):
        cfg_of("--config-file", str(configs / "trainers/LMPT" / f"{name}.yaml"))


def test_networks_of_others_get_no_file_that_they_did_not_ask_for(configs, monkeypatch):
    stock = getattr(TRAINER_REGISTRY, "_obj_map", None)  # by its name in stock Dassl, or ours
    entries = TRAINER_REGISTRY._objects if stock is None else stock
    monkeypatch.setitem(entries, "Foreign", TrainerX)
    (configs / "backbones" / "tiny.yaml").write_text("MODEL: {BACKBONE: {NAME: tiny}}\nSEED: 7\n")
    assert cfg_of().SEED == 7
    assert cfg_of("--trainer", "Foreign").SEED == -1
    assert cfg_of("--trainer", "Foreign", "--backbone", "tiny").SEED == 7
