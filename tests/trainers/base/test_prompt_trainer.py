from __future__ import annotations

import re

import pytest
import torch

import train
from tests.helpers.sets.small_set import arguments, results, write_set
from trainers.base import PromptTrainer


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_set(root)
    folder = root / "mine"
    rows = (folder / "train.txt").read_text().splitlines(keepends=True)
    (folder / "train.txt").write_text("".join(rows[:15]))
    (folder / "val.txt").write_text("".join(rows[15:]))
    return root


def run(root, output, *more):
    train.main(arguments(root, "CoOp", output, *map(str, more)))
    return results(output)


def metrics_of_epochs(output):
    log = (output / "log.txt").read_text()
    before_the_end = log[: log.index("Finish training")]
    line = r"^Evaluate on the \*\w+\* set: mAP ([\d.]+)%"
    return [float(value) for value in re.findall(line, before_the_end, re.MULTILINE)]


@pytest.mark.parametrize(("selection", "split"), [("best_val", "val"), ("best_test", "test")])
def test_the_best_epoch_is_kept_and_named(selection, split, root, tmp_path):
    more = ("TEST.FINAL_MODEL", selection, "OPTIM.LR", 0.5, "TRAIN.CHECKPOINT_FREQ", 1)
    found = run(root, tmp_path / "out", *more)
    assert found["selection"] == selection and found["split"] == "test"
    log = (tmp_path / "out" / "log.txt").read_text()
    assert log.count(f"Evaluate on the *{split}* set") >= 4
    watched = metrics_of_epochs(tmp_path / "out")
    assert len(watched) == 4
    assert found["epoch"] == 1 + watched.index(max(watched))  # the first of equals
    best = torch.load(tmp_path / "out/prompt_learner/model-best.pth.tar", weights_only=True)
    numbered = tmp_path / "out" / "prompt_learner" / f"model.pth.tar-{found['epoch']}"
    same = torch.load(numbered, weights_only=True)["state_dict"]["ctx"]
    assert torch.equal(best["state_dict"]["ctx"], same)


def test_the_last_epoch_is_the_default_and_nothing_is_watched(root, tmp_path):
    found = run(root, tmp_path / "out")
    assert found["selection"] == "last_step" and found["epoch"] == 4
    assert not metrics_of_epochs(tmp_path / "out")


def test_the_best_metric_survives_a_resume(root, tmp_path, monkeypatch):
    more = ("TEST.FINAL_MODEL", "best_val", "OPTIM.LR", 0.5)
    whole = run(root, tmp_path / "whole", *more)
    after_epoch = PromptTrainer.after_epoch

    def interrupted(self):
        after_epoch(self)
        if self.epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PromptTrainer, "after_epoch", interrupted)
        with pytest.raises(SystemExit):
            run(root, tmp_path / "halved", *more)
    halved = run(root, tmp_path / "halved", *more)
    assert halved["epoch"] == whole["epoch"] and halved["metrics"] == whole["metrics"]


def test_a_run_killed_before_naming_its_last_checkpoint_names_it_in_the_end(root, tmp_path):
    run(root, tmp_path / "out")
    pointer = tmp_path / "out" / "prompt_learner" / "checkpoint"
    assert pointer.read_text() == "model.pth.tar-4\n"
    pointer.write_text("model.pth.tar-3\n")
    run(root, tmp_path / "out")
    assert pointer.read_text() == "model.pth.tar-4\n"


def test_plateau_lowers_the_rate_by_the_validation_images(root, tmp_path):
    more = ("OPTIM.LR_SCHEDULER", "plateau", "OPTIM.WARMUP_EPOCH", 0, "OPTIM.PATIENCE", 0)
    run(root, tmp_path / "out", *more, "OPTIM.LR", 1e-6, "OPTIM.GAMMA", 0.5)
    log = (tmp_path / "out" / "log.txt").read_text()
    rates = [float(v) for v in re.findall(r"batch \[(?:\d+)/\d+\].* lr (\S+)", log)]
    assert rates[0] == 1e-6 and rates[-1] < rates[0]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("TEST.FINAL_MODEL", "best_val"), "need validation images"),
        (("OPTIM.LR_SCHEDULER", "plateau", "OPTIM.WARMUP_EPOCH", 0), "need validation images"),
        (("OPTIM.LR_SCHEDULER", "plateau"), "has no warm-up"),
        (("TEST.SPLIT", "val"), "TEST.SPLIT val need"),
        (("TEST.SPLIT", "vall"), "TEST.SPLIT must be one of test, val, got 'vall'"),
        (("TEST.FINAL_MODEL", "best"), "FINAL_MODEL must be one of last_step, best_val, best_test"),
    ],
)
def test_what_cannot_be_watched_is_refused(more, message, tmp_path):
    write_set(tmp_path)  # without validation images
    with pytest.raises(ValueError, match=message):
        run(tmp_path, tmp_path / "out", *more)


def test_the_validation_images_are_reported_on_request(root, tmp_path):
    assert run(root, tmp_path / "out", "TEST.SPLIT", "val")["split"] == "val"


def test_a_checkpoint_that_does_not_fit_is_refused_in_a_few_words(root, tmp_path):
    run(root, tmp_path / "shared")
    alone = ("--eval-only", "--model-dir", tmp_path / "shared")
    message = r"ctx: \(16, 64\) there, \(4, 16, 64\) here\nUse the options of its run"
    with pytest.raises(ValueError, match=message):
        run(root, tmp_path / "specific", *alone, "TRAINER.COOP.CSC", True)
    path = tmp_path / "shared" / "prompt_learner" / "model.pth.tar-4"
    content = torch.load(path, weights_only=True)
    del content["run"]  # as files of CoOp are, which say nothing of their trainer
    torch.save(content, path)
    words = [*arguments(root, "DualCoOpPP", tmp_path / "other"), *map(str, alone)]
    with pytest.raises(ValueError, match=r"ctx: \(16, 64\) there, none here") as refused:
        train.main(words)
    assert str(refused.value).count(" here") == 4
    extra = ("TRAINER.COOP.COSINE_OFFSET", "learnt", "TRAINER.COOP.LOGIT_SCALE_LEARNABLE", True)
    with pytest.raises(ValueError, match="affine.offset: none there"):
        run(root, tmp_path / "biased", *alone, *extra)


def test_a_method_that_trains_nothing_loads_nothing(root, tmp_path):
    train.main(arguments(root, "ZeroshotCLIP", tmp_path / "run"))
    alone = ("--eval-only", "--model-dir", str(tmp_path / "run"))
    train.main(arguments(root, "ZeroshotCLIP", tmp_path / "eval", *alone))
    assert results(tmp_path / "eval")["metrics"] == results(tmp_path / "run")["metrics"]
    assert "so nothing is loaded" in (tmp_path / "eval" / "log.txt").read_text()
