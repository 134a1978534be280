from __future__ import annotations

import shutil

import pytest
import torch

import train
from evaluation.results.saved_scores import load_scores
from loading.images import read_picture
from prediction import load_run, zero_shot
from tests.helpers.sets.small_set import NAMES, arguments, write_set

TRAINERS = {  # one of each kind: captions, regions, a tower tuned in part or whole, nothing trained
    "LMPT": (),
    "CoOp": ("TRAINER.TUNE.NAME", "vpt"),
    "DualCoOp": (),
    "FinetuneCLIP": (),
    "ZeroshotCLIP": (),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Root of a data set, and the folder of a run of each trainer below it."""
    root = tmp_path_factory.mktemp("data")
    write_set(root)
    for trainer, words in TRAINERS.items():
        more = ("TEST.SAVE_SCORES", "True", "OPTIM.MAX_EPOCH", "1", *words)
        train.main(arguments(root, trainer, root / trainer, *more))
    return root


@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_run_scores_pictures_as_its_evaluation_did(trainer, runs):
    run = load_run(runs / trainer)
    logits, _, paths = load_scores(runs / trainer / "scores.npz")
    pictures = [read_picture(path) for path in paths]
    images = torch.stack([run.transform(picture) for picture in pictures])
    # Regions are cached in half precision: three decimals of a cosine, times a scale of 100.
    bound = 0.05 if trainer == "DualCoOp" else 1e-4
    torch.testing.assert_close(run.logits(images).cpu(), logits, atol=bound, rtol=0)
    assert run.classnames == NAMES
    assert run.epoch == (0 if trainer == "ZeroshotCLIP" else 1)
    assert run.selection == "last_step"


def test_scores_are_in_the_space_of_the_threshold(runs):
    logits = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
    softmax = load_run(runs / "LMPT", words=["TEST.SCORE", "softmax"])
    torch.testing.assert_close(softmax.scores(logits), logits.softmax(dim=1))
    torch.testing.assert_close(load_run(runs / "LMPT").scores(logits), logits.sigmoid())


def test_zero_shot_needs_class_names_alone(runs):
    words = ["MODEL.BACKBONE.NAME", str(runs / "mine" / "clip.pt"), "INPUT.SIZE", "(32, 32)"]
    words += ["INPUT.SIZE", str(tuple(load_run(runs / "ZeroshotCLIP").cfg.INPUT.SIZE))]
    images = torch.rand(2, 3, *load_run(runs / "ZeroshotCLIP").cfg.INPUT.SIZE)
    mine = zero_shot(NAMES, words=words)
    expected = load_run(runs / "ZeroshotCLIP").logits(images)
    torch.testing.assert_close(mine.logits(images), expected)
    torch.testing.assert_close(zero_shot(NAMES[1:], words=words).logits(images), expected[:, 1:])
    for names in ([], ["cat", "cat"]):
        with pytest.raises(ValueError, match="Class names must be different ones"):
            zero_shot(names)


def test_contexts_that_classes_share_take_other_classes_and_their_own_do_not(runs, tmp_path):
    words = ("TRAINER.COOP.CSC", "False", "OPTIM.MAX_EPOCH", "1")
    train.main(arguments(runs, "CoOp", tmp_path / "shared", *words))
    assert load_run(tmp_path / "shared", classnames=["wolf", "owl"]).classnames == ["wolf", "owl"]
    with pytest.raises(ValueError, match="holds a part of its own for each class"):
        load_run(runs / "LMPT", classnames=["wolf", "owl"])


def test_a_folder_that_is_no_run_is_refused(runs, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no config.yaml.*--output-dir"):
        load_run(tmp_path)
    with pytest.raises(FileNotFoundError, match="No checkpoint of epoch 9"):
        load_run(runs / "LMPT", epoch=9)
    broken = tmp_path / "broken"
    shutil.copytree(runs / "ZeroshotCLIP", broken)
    (broken / "conditions.json").write_text("[]")
    with pytest.raises(ValueError, match="holds no list of class names"):
        load_run(broken)
