"""Files that were written for CoOp's train.py run here as they are."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from dassl.config import get_cfg_default

from modeling.clip.loader import import_clip

import_clip()  # as configuration.py does before it imports files of others

import tests.helpers.models.coop_style  # noqa: F401 - registers
import train
from compat.coop import declare_coop_keys
from tests.compat.conformance import fixed_in_builtin
from tests.helpers.project_copy import copy_project
from tests.helpers.sets.single_label_set import BREEDS, pet_arguments, write_pets
from tests.helpers.sets.small_set import arguments, results, write_set

HELPERS = Path(__file__).resolve().parents[1] / "helpers"


@pytest.fixture
def pets(tmp_path):
    write_pets(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def own_node(tmp_path):
    path = tmp_path / "offset.yaml"
    path.write_text("TRAINER:\n  OFFSETTUNING:\n    CTX_INIT: a photo of a\n    WEIGHT: 5e-1\n")
    return ["--config-file", str(path)]


def test_files_dropped_into_the_folders_run(pets, tmp_path):
    project = copy_project(tmp_path / "project")
    shutil.copy(HELPERS / "models" / "coop_style.py", project / "trainers" / "offsets.py")
    shutil.copy(HELPERS / "sets" / "single_label_set.py", project / "datasets" / "small_pets.py")
    command = [sys.executable, "train.py", *pet_arguments(pets, "OffsetCoOp", tmp_path / "out")]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = results(tmp_path / "out")
    assert (found["trainer"], found["dataset"], found["epoch"]) == ("OffsetCoOp", "SmallPets", 2)
    assert list(found["metrics"]) == ["accuracy", "error_rate", "macro_f1"]
    assert found["seconds"] > 0
    assert re.search(r"^\* accuracy: ", (tmp_path / "out" / "log.txt").read_text(), re.M)


@fixed_in_builtin("load_model prints a validation result that epoch checkpoints lack")
def test_the_command_line_resumes_and_evaluates_them(pets, tmp_path):
    train.main(pet_arguments(pets, "OffsetCoOp", tmp_path / "out"))
    first = results(tmp_path / "out")
    train.main(pet_arguments(pets, "OffsetCoOp", tmp_path / "out"))
    assert results(tmp_path / "out")["metrics"] == first["metrics"]
    assert results(tmp_path / "out")["seconds"] is None  # trained in an earlier process
    evaluation = ["--eval-only", "--model-dir", str(tmp_path / "out"), "--load-epoch", "2"]
    train.main(pet_arguments(pets, "OffsetCoOp", tmp_path / "eval", *evaluation))
    again = results(tmp_path / "eval")
    assert again["metrics"] == first["metrics"] and again["epoch"] == 2


def test_a_yaml_declares_the_keys_of_a_silent_method(pets, tmp_path, own_node):
    command = pet_arguments(pets, "OffsetTuning", tmp_path / "out", *own_node)
    cfg = train.build_cfg(train.build_parser().parse_intermixed_args(command))
    assert cfg.TRAINER.OFFSETTUNING.WEIGHT == 0.5  # yaml itself takes 5e-1 for text
    train.main([*command, "TRAINER.OFFSETTUNING.WEIGHT", "2"])
    assert results(tmp_path / "out")["trainer"] == "OffsetTuning"
    for words, message in (
        (["TRAINER.OFFSETTUNING.WEIHGT", "2"], "Did you mean 'TRAINER.OFFSETTUNING.WEIGHT'"),
        (["TRAINER.OFFSETTUNING.WEIGHT", "much"], "takes float such as 0.5, got 'much'"),
    ):
        with pytest.raises(ValueError, match=message):
            train.main([*command, *words])


def test_a_yaml_cannot_declare_keys_elsewhere(tmp_path):
    for node in ("LMPT", "OFFSETTUNIN", "COOP"):
        (tmp_path / "a.yaml").write_text(f"TRAINER:\n  {node}:\n    WEIGHT: 0.5\n")
        with pytest.raises(ValueError, match=f"unknown config key 'TRAINER.{node}.WEIGHT'"):
            train.main(["--config-file", str(tmp_path / "a.yaml")])


def test_several_labels_and_groups(tmp_path, own_node):
    write_set(tmp_path / "data")
    train.main(arguments(tmp_path / "data", "OffsetTuning", tmp_path / "out", *own_node))
    found = results(tmp_path / "out")
    assert 0 < found["metrics"]["mAP"] <= 100 and found["score"] == "logit"
    assert {row["group"] for row in found["per_class"]} == {"tail"}
    assert all(row["train_count"] > 0 for row in found["per_class"])


@pytest.mark.parametrize("trainer", ["OffsetCoOp", "CoOp"])
def test_the_wrong_evaluator_is_refused_before_training(trainer, pets, tmp_path):
    more = ("TEST.EVALUATOR", "MultiLabelLongTail", "TRAINER.COOP.PREC", "fp32")
    with pytest.raises(ValueError, match="SmallPets has one label.*EVALUATOR Classification"):
        train.main(pet_arguments(pets, trainer, tmp_path / "out", *more))
    assert not (tmp_path / "out" / "prompt_learner").exists()
    write_set(tmp_path / "many")
    with pytest.raises(ValueError, match="ListLT has label vectors.*MultiLabelLongTail"):
        more = ("TEST.EVALUATOR", "Classification")
        train.main(arguments(tmp_path / "many", trainer, tmp_path / "out", *more))


def test_nothing_is_reported_where_nothing_was_evaluated(pets, tmp_path):
    train.main(pet_arguments(pets, "OffsetCoOp", tmp_path / "out", "TEST.NO_TEST", "True"))
    assert not (tmp_path / "out" / "results.json").exists()


def test_keys_of_coops_train_are_there():
    cfg = get_cfg_default()
    declare_coop_keys(cfg)
    assert cfg.TRAINER.COOP.N_CTX == cfg.TRAINER.COCOOP.N_CTX == 16
    assert cfg.TRAINER.COOP.PREC == "fp16" and cfg.TRAINER.COCOOP.CTX_INIT == ""
    assert cfg.DATASET.SUBSAMPLE_CLASSES == "all"
    cfg.TRAINER.COOP.N_CTX = 4
    declare_coop_keys(cfg)  # leaves alone what is declared
    assert cfg.TRAINER.COOP.N_CTX == 4


def test_classes_are_subsampled_and_shots_drawn(pets, tmp_path):
    more = ("DATASET.SUBSAMPLE_CLASSES", "new", "DATASET.NUM_SHOTS", "2")
    command = pet_arguments(pets, "OffsetCoOp", tmp_path / "out", *more)
    cfg = train.build_cfg(train.build_parser().parse_intermixed_args(command))
    dataset = train.build_trainer(cfg).dm.dataset
    assert dataset.classnames == BREEDS[2:] and len(dataset.train_x) == 4


class TestClipPackage:
    """`clip._download(clip._MODELS[name])`, CoOp's way to the weights."""

    @pytest.fixture
    def clip(self):
        import_clip()
        from clip import clip

        return clip

    def test_a_path_stands_for_itself(self, clip, tmp_path):
        torch.save({}, tmp_path / "w.pt")
        path = str(tmp_path / "w.pt")
        assert clip._download(clip._MODELS[path]) == path

    def test_names_are_downloaded_and_checked(self, clip, monkeypatch):
        asked = []
        monkeypatch.setattr(
            "modeling.clip.loader.download", lambda *a, **k: asked.append((a, k)) or a[1]
        )
        address = clip._MODELS["RN50"]
        assert clip._download(address).endswith(".cache/clip/RN50.pt")
        assert clip._download(address, "/somewhere") == "/somewhere/RN50.pt"
        assert asked[0][1]["checksum"] == address.split("/")[-2]

    def test_typos_get_the_nearest_name(self, clip):
        with pytest.raises(ValueError, match="Did you mean 'ViT-B/16'"):
            clip._MODELS["ViT-B16"]
        assert "ViT-B16" not in clip._MODELS
        assert set(clip.available_models()) >= {"RN50", "ViT-B/16"}
