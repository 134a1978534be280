"""A run's folder is enough to evaluate it, and nothing is asked for that nobody looks at."""

from __future__ import annotations

import shutil

import pytest
import torch

import train
from configuration import build_cfg
from tests.helpers.sets.small_set import arguments, contexts, results, write_set


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Root of a data set, and LMPT's run on it."""
    root = tmp_path_factory.mktemp("data")
    write_set(root)
    train.main(arguments(root, "LMPT", root / "run", "TRAINER.LMPT.N_CTX", "3"))
    return root, root / "run"


@pytest.fixture
def without_training_files(trained, tmp_path):
    """That root without training pictures and captions."""
    root = tmp_path / "data"
    shutil.copytree(trained[0], root)
    for path in (root / "mine" / "pictures").glob("train*"):
        path.unlink()
    (root / "mine" / "captions.txt").unlink()
    return root


def test_a_run_is_evaluated_from_its_folder_alone(trained, without_training_files, tmp_path):
    command = ["--eval-only", "--model-dir", str(trained[1]), "--output-dir", str(tmp_path / "out")]
    train.main([*command, "--root", str(without_training_files), "TEST.SAVE_SCORES", "True"])
    evaluated, before = results(tmp_path / "out"), results(trained[1])
    for name in ("trainer", "dataset", "backbone", "seed", "metrics", "epoch", "per_class"):
        assert evaluated[name] == before[name], name
    assert "their scores are not saved" in (tmp_path / "out" / "log.txt").read_text()
    assert not list((tmp_path / "out").glob("*train*.npz"))


def test_flags_and_overrides_change_the_folders_config(trained, tmp_path):
    command = ["--eval-only", "--model-dir", str(trained[1])]
    parser = train.build_parser()
    cfg = build_cfg(parser.parse_intermixed_args(command))
    assert cfg.TRAINER.LMPT.N_CTX == 3 and cfg.OUTPUT_DIR == str(trained[1]) and cfg.SEED == 1
    words = ["TEST.SCORE", "sigmoid", "--output-dir", "there", "--backbone", "RN50"]
    changed = build_cfg(parser.parse_intermixed_args([*command, *words]))
    assert (changed.TEST.SCORE, changed.OUTPUT_DIR) == ("sigmoid", "there")
    assert changed.MODEL.BACKBONE.NAME == "RN50"


def test_keys_of_a_method_that_is_gone_do_not_stop_an_evaluation(trained, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained[1], folder)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("  COOP:\n", "  GONE:\n    A: 1\n  COOP:\n"))
    words = ["--eval-only", "--model-dir", str(folder)]
    cfg = build_cfg(train.build_parser().parse_intermixed_args(words))
    assert "GONE" not in cfg.TRAINER
    config.write_text(config.read_text().replace("  LMPT:\n", "  LMPT:\n    N_CXT: 1\n"))
    with pytest.raises(ValueError, match=r"unknown config key 'TRAINER.LMPT.N_CXT'"):
        build_cfg(train.build_parser().parse_intermixed_args(words))


@pytest.mark.parametrize("trainer", ["ZeroshotCLIP", "TaIDPT"])
def test_methods_that_look_at_no_training_picture_do_without(trainer, trained, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(trained[0], root)
    for path in (root / "mine" / "pictures").glob("train*"):
        path.unlink()
    words = ("DATASET.TEXT_AS_IMAGE", str(trainer == "TaIDPT"))
    train.main(arguments(root, trainer, tmp_path / "without", *words))
    train.main(arguments(trained[0], trainer, tmp_path / "with", *words))
    assert results(tmp_path / "without")["metrics"] == results(tmp_path / "with")["metrics"]
    with pytest.raises(FileNotFoundError, match="pictures are absent"):
        train.main(arguments(root, "CoOp", tmp_path / "coop"))


def test_looking_at_the_test_images_on_the_way_changes_nothing(trained, tmp_path):
    words = ("TRAINER.LMPT.N_CTX", "3", "TEST.EVAL_FREQ", "2", "OPTIM.MAX_EPOCH", "4")
    train.main(arguments(trained[0], "LMPT", tmp_path / "out", *words))
    assert torch.equal(contexts(tmp_path / "out"), contexts(trained[1]))
    looks = (tmp_path / "out" / "log.txt").read_text().count("Evaluate on the *test* set")
    assert looks == 2  # after epochs 2 and 4
    assert results(tmp_path / "out")["selection"] == "last_step"


def test_a_run_of_an_earlier_version_goes_on_under_todays_names(trained, tmp_path):
    root, out = trained[0], tmp_path / "out"
    words = ("OPTIM.MAX_EPOCH", "1", "TRAINER.DUALCOOPPP.WINNER_TAKES_ALL", "train")
    train.main(arguments(root, "DualCoOpPP", out, *words))
    config = out / "config.yaml"
    config.write_text(config.read_text().replace("WINNER_TAKES_ALL:", "WTA:"))
    path = out / "prompt_learner" / "model.pth.tar-1"
    checkpoint = torch.load(path, weights_only=True)
    state = checkpoint["state_dict"]
    state["ctx_evid"] = state.pop("ctx_evidence")
    torch.save(checkpoint, path)
    before = results(out)["metrics"]
    train.main(arguments(root, "DualCoOpPP", out, *words))  # is taken for the same experiment
    train.main(["--eval-only", "--model-dir", str(out), "--output-dir", str(tmp_path / "again")])
    assert results(tmp_path / "again")["metrics"] == before
