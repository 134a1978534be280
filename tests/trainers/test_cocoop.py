from __future__ import annotations

import pytest
import torch

from tests.helpers.models.small_trainer import (
    assert_same_gradients,
    build,
    first_step,
    image_features,
    write_calm_set,
)
from tests.helpers.naive.naive_losses import bce
from tests.helpers.naive.naive_text import naive_text_features
from tests.helpers.sets.small_set import NAMES, results


@pytest.fixture
def cocoop(tower, tmp_path):
    write_calm_set(tmp_path, tower)

    def make(*more, output="out"):
        return build(tmp_path, "CoCoOp", tmp_path / output, *more, tower=tower)

    return make


@pytest.mark.parametrize("chunk", [1, 3, 64])
def test_a_step_is_the_papers(chunk, cocoop):
    trainer = cocoop("TRAINER.COCOOP.CHUNK", chunk, "TRAINER.LOSS.NAME", "bce")
    learner = trainer.model.learner
    with torch.no_grad():  # an active net: with two units here, both may be dead
        learner.meta_net.linear1.bias += 1
    batch, targets, logits, loss = first_step(trainer)
    rows = []
    for feature in image_features(trainer, batch):
        net = learner.meta_net
        hidden = (net.linear1.weight @ feature + net.linear1.bias).clamp(min=0)
        contexts = learner.ctx + net.linear2.weight @ hidden + net.linear2.bias
        rows.append(naive_text_features(NAMES, trainer.clip.clip_model, contexts) @ feature)
    expected = trainer.clip.clip_model.logit_scale.exp() * torch.stack(rows)
    assert torch.allclose(logits, expected, atol=1e-4)
    naive = torch.stack(bce(expected.double(), targets)).mean()
    assert float(loss.detach()) == pytest.approx(float(naive.detach()), rel=1e-4)
    assert_same_gradients(loss, naive, list(learner.parameters()))


def test_it_starts_from_the_papers_words_and_other_seeds_start_other_nets(cocoop):
    first, second = cocoop("--seed", 1), cocoop("--seed", 2)
    assert first.model.learner.ctx.shape == (4, 64)
    assert torch.equal(first.model.learner.ctx, second.model.learner.ctx)
    nets = [t.model.learner.meta_net.linear1.weight for t in (first, second)]
    assert not torch.equal(*nets)


def test_contexts_and_net_are_trained_and_cocoops_checkpoints_load(cocoop, tmp_path):
    trainer = cocoop("TRAINER.COCOOP.COSINE_OFFSET", "learnt")
    start = {name: p.detach().clone() for name, p in trainer.model.learner.named_parameters()}
    trainer.train()
    assert results(tmp_path / "out")["epoch"] == 4
    for name, parameter in trainer.model.learner.named_parameters():
        if "linear1" not in name:  # both of its units may be dead
            assert not torch.equal(parameter, start[name]), name
    # As CoCoOp's own code writes it: with the class names' embeddings, of any classes.
    path = tmp_path / "theirs" / "prompt_learner" / "model.pth.tar-10"
    path.parent.mkdir(parents=True)
    state = {"ctx": torch.randn(4, 64), "token_prefix": torch.zeros(9, 1, 64)}
    shapes = {"linear1.weight": (2, 32), "linear1.bias": (2,)}
    shapes |= {"linear2.weight": (64, 2), "linear2.bias": (64,)}
    state |= {f"meta_net.{name}": torch.randn(shape) for name, shape in shapes.items()}
    torch.save({"state_dict": state, "epoch": 10, "optimizer": None}, path)
    other = cocoop(output="other")
    other.load_model(str(tmp_path / "theirs"), epoch=10)
    for name, value in other.model.learner.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_the_offset_starts_at_the_mean_cosine_of_the_images_own_texts(cocoop):
    trainer = cocoop("TRAINER.COCOOP.COSINE_OFFSET", "fixed", "OPTIM.MAX_EPOCH", 1)
    cosines = []
    with torch.no_grad():
        for batch in trainer.train_loader_x:
            views, _ = trainer.parse_batch_train(batch)
            cosines.append(trainer.model.logits(views, None) / trainer.model.scale.scale)
    trainer.train()
    assert torch.allclose(trainer.model.scale.offset, torch.cat(cosines).mean(), atol=1e-6)


@pytest.mark.parametrize("precision", ["fp16", "bf16", "amp"])
def test_contexts_and_net_are_fp32_in_every_precision(precision, cocoop):
    trainer = cocoop("TRAINER.COCOOP.PREC", precision, "TRAINER.COCOOP.CHUNK", 3)
    _, _, logits, _ = first_step(trainer)
    full = cocoop()
    full.model.learner.load_state_dict(trainer.model.learner.state_dict())
    assert logits.dtype is torch.float32
    assert (logits - first_step(full)[2]).abs().max() < 0.2  # logits reach 14
    trainer.train()
    assert all(p.dtype is torch.float32 for p in trainer.model.learner.parameters())
    assert all(torch.isfinite(p).all() for p in trainer.model.learner.parameters())


def test_an_empty_chunk_is_refused(cocoop):
    with pytest.raises(ValueError, match="CHUNK must be 1 or more, got 0"):
        cocoop("TRAINER.COCOOP.CHUNK", 0)
