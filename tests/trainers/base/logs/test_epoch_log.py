from __future__ import annotations

import pytest

import train
from tests.helpers.sets.small_set import arguments, write_set
from trainers.lmpt import LMPTModel


@pytest.fixture
def diverges(tmp_path, monkeypatch):
    """Runs LMPT whose embedding loss is NaN from a step on, counted from 1."""
    write_set(tmp_path / "data")
    terms_of = LMPTModel.loss

    def run(step, *more):
        steps = []

        def broken(self, *inputs):
            steps.append(1)
            terms = terms_of(self, *inputs)
            part = next(name for name in terms if name != "loss")
            worse = terms[part] * (float("nan") if len(steps) >= step else 1.0)
            return {**terms, part: worse, "loss": terms["loss"] + 0 * worse}

        monkeypatch.setattr(LMPTModel, "loss", broken)
        train.main(arguments(tmp_path / "data", "LMPT", tmp_path / "out", *more))

    return run


def told(call, capsys):
    with pytest.raises((FloatingPointError, SystemExit)) as stop:
        call()
    return str(stop.value) + capsys.readouterr().err


def test_a_loss_that_is_not_finite_says_which_part_and_which_images(diverges, tmp_path, capsys):
    message = told(lambda: diverges(5), capsys)  # three batches an epoch
    assert "became infinite or NaN in epoch 2, batch 2 (" in message and "loss_" in message
    assert message.count("pictures/train") == 3 and "and 5 more" in message
    assert "Lower OPTIM.LR" in message
    assert (tmp_path / "out/prompt_learner/model.pth.tar-1").is_file()


def test_the_rate_is_not_blamed_for_the_first_loss(diverges, capsys):
    message = told(lambda: diverges(1), capsys)
    assert "epoch 1, batch 1" in message and "OPTIM.LR is not the cause" in message
