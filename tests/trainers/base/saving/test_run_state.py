"""Checkpoints of a run without a trainer."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR

from trainers.base.saving.checkpoints import BEST, Checkpoints
from trainers.base.saving.run_record import RunRecord
from trainers.base.saving.run_state import RunState

ORIGIN = {
    "trainer": "Mine",
    "backbone": "tiny",
    "clip": "0",
    "classnames": ["cat", "dog"],
    "class_specific": False,
    "options": {"PREC": "fp32"},
    "selection": "best_val",
    "max_epoch": 5,
}


def state_of_run(every=0):
    learner = nn.Linear(3, 2)
    optim = SGD(learner.parameters(), lr=0.1, momentum=0.9)
    record = RunRecord("best_val")
    record.origin = ORIGIN
    return RunState("learner", learner, optim, StepLR(optim, 2), record, every)


def epoch_of_training(state):
    state.optim.zero_grad()
    state.learner(torch.randn(4, 3)).pow(2).sum().backward()
    state.optim.step()
    state.sched.step()


def save(state, folder, done, metric=None, name=""):
    state.save(folder, done, 0.0, metric, is_best=False, model_name=name)


@pytest.mark.parametrize(("every", "kept"), [(0, {5}), (2, {2, 4, 5}), (1, {1, 2, 3, 4, 5})])
def test_checkpoints_between_those_that_stay_go_when_a_later_one_is_there(
    every, kept, tmp_path, capsys
):
    state, checkpoints = state_of_run(every), Checkpoints(tmp_path, "learner")
    for done in range(1, 6):
        save(state, tmp_path, done)
        assert set(checkpoints.epochs()) == {epoch for epoch in kept if epoch <= done} | {done}
        said = capsys.readouterr().out
        assert ("Checkpoint saved to" in said) == (done in kept)


def test_the_best_one_stays_and_takes_no_place(tmp_path):
    state, checkpoints = state_of_run(), Checkpoints(tmp_path, "learner")
    assert checkpoints.best_metric() == -math.inf
    save(state, tmp_path, 1)
    save(state, tmp_path, 2, 61.5, BEST)
    assert set(checkpoints.epochs()) == {1} and checkpoints.best_metric() == 61.5


def test_a_resumed_run_takes_the_steps_of_an_uninterrupted_one(tmp_path):
    torch.manual_seed(0)
    first = state_of_run()
    epoch_of_training(first)
    first.record.training = 40.0
    save(first, tmp_path, 1)
    epoch_of_training(first)
    second = state_of_run()
    assert second.resume(tmp_path) == 1 and second.record.epoch == 1
    epoch_of_training(second)
    for name, value in first.learner.state_dict().items():
        assert torch.equal(second.learner.state_dict()[name], value)
    assert second.optim.state_dict()["state"].keys() == first.optim.state_dict()["state"].keys()
    assert second.sched.state_dict() == first.sched.state_dict()
    spent = second.record.spent(caching=2.0)
    assert spent["seconds_spent"] == {"caching": 2.0, "training": 40.0}


def test_what_is_loaded_is_what_results_speak_of(tmp_path):
    state = state_of_run(every=1)
    for done in (1, 2):
        epoch_of_training(state)
        save(state, tmp_path, done)
    save(state, tmp_path, 2, 61.5, BEST)
    for epoch, selection in ((1, "epoch_1"), (None, "best_val")):
        other = state_of_run()
        other.load(tmp_path, epoch)
        said = other.record.of_weights(caching=0.0)
        assert said["epoch"] == (epoch or 2) and said["selection"] == selection
        assert said["evaluation"]


def test_what_a_kill_cut_short_is_completed(tmp_path):
    state, checkpoints = state_of_run(), Checkpoints(tmp_path, "learner")
    save(state, tmp_path, 1)
    save(state, tmp_path, 2, 61.5, BEST)  # killed before the numbered one
    checkpoints.complete(2, lambda: save(state, tmp_path, 2))
    assert set(checkpoints.epochs()) == {2}
    pointer = tmp_path / "learner" / "checkpoint"
    pointer.write_text(f"{BEST}\n")  # killed before the numbered one was named
    checkpoints.complete(2, lambda: pytest.fail("it is there"))
    assert pointer.read_text() == "model.pth.tar-2\n"
