from __future__ import annotations

import pytest
import torch

from losses import LOSSES
from tests.helpers.models.small_trainer import (
    assert_same_gradients,
    build,
    first_step,
    image_features,
    write_calm_set,
)
from tests.helpers.naive.naive_losses import bce
from tests.helpers.naive.naive_text import naive_text_features
from tests.helpers.sets.small_set import NAMES


@pytest.fixture
def coop(tower, tmp_path):
    write_calm_set(tmp_path, tower)

    def make(*more):
        return build(tmp_path, "CoOp", tmp_path / "out", *more, tower=tower)

    return make


@pytest.mark.parametrize("offset", ["off", "learnt"])
@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize("csc", [False, True])
def test_a_step_is_the_papers(csc, position, offset, coop):
    trainer = coop(
        *("TRAINER.COOP.CSC", csc, "TRAINER.COOP.CLASS_TOKEN_POSITION", position),
        *(
            "TRAINER.COOP.N_CTX",
            5,
            "TRAINER.COOP.COSINE_OFFSET",
            offset,
            "TRAINER.LOSS.NAME",
            "bce",
        ),
    )
    learner, shift = trainer.model.learner, 0.0
    if offset == "learnt":
        trainer.model.scale.set_offset(torch.tensor(0.3))
        shift = trainer.model.scale.offset
    assert learner.ctx.shape == ((len(NAMES), 5, 64) if csc else (5, 64))
    batch, targets, logits, loss = first_step(trainer)
    text_features = naive_text_features(NAMES, trainer.clip.clip_model, learner.ctx, position)
    cosines = image_features(trainer, batch) @ text_features.T
    expected = trainer.clip.clip_model.logit_scale.exp() * (cosines - shift)
    assert torch.allclose(logits, expected, atol=1e-4)
    naive = torch.stack(bce(expected.double(), targets)).mean()
    assert float(loss.detach()) == pytest.approx(float(naive.detach()), rel=1e-4)
    assert_same_gradients(loss, naive, list(learner.parameters()))


def test_the_contexts_alone_are_trained(coop):
    trainer = coop()
    assert list(trainer.model.learner.state_dict()) == ["ctx"]
    assert [id(p) for g in trainer.optim.param_groups for p in g["params"]] == [
        id(trainer.model.learner.ctx)
    ]
    before = {name: value.clone() for name, value in trainer.clip.clip_model.state_dict().items()}
    start = trainer.model.learner.ctx.detach().clone()
    trainer.train()
    assert not torch.equal(trainer.model.learner.ctx, start)
    for name, value in trainer.clip.clip_model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("csc", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_lowers_itself(loss, csc, tmp_path):
    write_calm_set(tmp_path)
    trainer = build(
        *(tmp_path, "CoOp", tmp_path / "out", "TRAINER.LOSS.NAME", loss),
        *("TRAINER.COOP.CSC", csc, "TRAINER.COOP.CTX_INIT", "a photo of a"),
        *("DATALOADER.TRAIN_X.BATCH_SIZE", 64),
    )
    parameter = trainer.model.learner.ctx
    before = first_step(trainer)[-1]
    gradient = torch.autograd.grad(before, parameter)[0]
    with torch.no_grad():
        parameter -= 1e-4 * gradient / gradient.norm()
    assert float(first_step(trainer)[-1].detach()) < float(before.detach())
