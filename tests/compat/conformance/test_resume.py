from __future__ import annotations

import os
import shutil

import pytest
import torch
from dassl.utils import load_checkpoint

from . import fixed_in_builtin
from .toy import IN_ORDER, toy_trainer, weights


def stopped_after(epoch, trainer):
    """Make the trainer fail at the beginning of an epoch, as a killed run does."""

    def stop():
        if trainer.epoch == epoch:
            raise KeyboardInterrupt

    trainer.before_epoch = stop
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    trainer.close_writer()


@pytest.mark.parametrize("schedule", ["cosine", "multi_step", "single_step"])
@pytest.mark.parametrize("warmup", [(1, "constant"), (3, "linear"), (0, "linear")])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_resumed_equals_uninterrupted(tmp_path, capsys, schedule, warmup, optimizer):
    options = ["OPTIM.LR_SCHEDULER", schedule, "OPTIM.STEPSIZE", (2,), "OPTIM.NAME", optimizer]
    options += ["OPTIM.WARMUP_EPOCH", warmup[0], "OPTIM.WARMUP_TYPE", warmup[1]]
    options += ["TRAIN.CHECKPOINT_FREQ", 1, *IN_ORDER]
    whole = toy_trainer(tmp_path, *options)
    whole.train()
    shutil.rmtree(tmp_path / "output")

    stopped_after(2, toy_trainer(tmp_path, *options))
    capsys.readouterr()
    resumed = toy_trainer(tmp_path, *options, seed=9)
    resumed.train()
    output = tmp_path / "output"
    assert f"Found checkpoint at {output} (will resume training)\n" in capsys.readouterr().out
    assert resumed.start_epoch == 2
    assert resumed.rates == whole.rates[2:]
    for found, expected in zip(weights(resumed), weights(whole), strict=True):
        assert torch.equal(found, expected)


@fixed_in_builtin("does not save the random generators, so that the batches differ")
def test_resumed_equals_uninterrupted_with_shuffling_and_augmentation(tmp_path):
    options = ["TRAIN.CHECKPOINT_FREQ", 1, "INPUT.TRANSFORMS", ("random_resized_crop", "cutout")]
    options += ["TEST.FINAL_MODEL", "best_val"]
    whole = toy_trainer(tmp_path, *options)
    whole.train()
    shutil.rmtree(tmp_path / "output")

    stopped_after(2, toy_trainer(tmp_path, *options))
    resumed = toy_trainer(tmp_path, *options, seed=9)
    resumed.train()
    assert resumed.seen == whole.seen[4:]
    for found, expected in zip(weights(resumed), weights(whole), strict=True):
        assert torch.equal(found, expected)
    assert resumed.best_result == whole.best_result


@fixed_in_builtin("forgets the best result, so that the next epoch replaces the best model")
def test_the_best_result_survives(tmp_path):
    options = ["TRAIN.CHECKPOINT_FREQ", 1, "TEST.FINAL_MODEL", "best_val"]
    first = toy_trainer(tmp_path, *options)
    first.test = lambda split=None: 90.0 - first.epoch
    stopped_after(2, first)
    resumed = toy_trainer(tmp_path, *options)
    resumed.test = lambda split=None: 50.0
    resumed.train()
    best = load_checkpoint(str(tmp_path / "output" / "linear" / "model-best.pth.tar"))
    assert (best["epoch"], best["val_result"], resumed.best_result) == (1, 90.0, 90.0)


@fixed_in_builtin("leaves the best model behind in the other directory")
def test_the_best_model_comes_along_from_another_directory(tmp_path):
    options = ["TRAIN.CHECKPOINT_FREQ", 1, "TEST.FINAL_MODEL", "best_val"]
    first = toy_trainer(tmp_path, *options)
    first.test = lambda split=None: 90.0 - first.epoch
    stopped_after(2, first)
    moved = ["RESUME", str(tmp_path / "output"), "OUTPUT_DIR", str(tmp_path / "second")]
    resumed = toy_trainer(tmp_path, *options, *moved)
    resumed.test = lambda split=None: 50.0
    resumed.train()
    best = load_checkpoint(str(tmp_path / "second" / "linear" / "model-best.pth.tar"))
    assert (best["epoch"], best["val_result"]) == (1, 90.0)


def test_resuming_from_another_directory(tmp_path):
    stopped_after(2, toy_trainer(tmp_path, "TRAIN.CHECKPOINT_FREQ", 1))
    moved = ["RESUME", str(tmp_path / "output"), "OUTPUT_DIR", str(tmp_path / "second")]
    resumed = toy_trainer(tmp_path, *moved)
    resumed.train()
    assert resumed.start_epoch == 2
    assert os.listdir(tmp_path / "second" / "linear") != []


@fixed_in_builtin("starts from scratch if the directory to resume does not exist")
def test_a_mistyped_directory_is_an_error(tmp_path):
    stopped_after(2, toy_trainer(tmp_path, "TRAIN.CHECKPOINT_FREQ", 1))
    trainer = toy_trainer(tmp_path, "RESUME", str(tmp_path / "outptu"))
    with pytest.raises(FileNotFoundError, match=r"RESUME .*outptu holds no checkpoint of linear"):
        trainer.train()
    with pytest.raises(FileNotFoundError, match=f"Do you mean {tmp_path / 'output'}"):
        trainer.train()


def test_a_finished_run_is_only_tested(tmp_path, capsys):
    toy_trainer(tmp_path).train()
    capsys.readouterr()
    again = toy_trainer(tmp_path)
    again.train()
    printed = capsys.readouterr().out
    assert again.seen == [] and "epoch [" not in printed
    assert "Finish training\n" in printed and "=> result\n" in printed


@fixed_in_builtin("fails on a directory without a checkpoint, which a killed first save leaves")
def test_a_run_killed_before_its_first_checkpoint_starts_anew(tmp_path):
    (tmp_path / "output" / "linear").mkdir(parents=True)
    trainer = toy_trainer(tmp_path, "OPTIM.MAX_EPOCH", 1)
    trainer.train()
    assert trainer.start_epoch == 0
