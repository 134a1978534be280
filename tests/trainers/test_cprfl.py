from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import train
from modeling.clip.loader import tokenize
from modeling.encoders.features import Features
from prediction import load_run
from tests.helpers.models.small_clip import TOWERS
from tests.helpers.models.small_trainer import built
from tests.helpers.naive import naive_losses as naive
from tests.helpers.sets.small_set import NAMES, arguments

SMALL = ("WIDTH", 16, "HEADS", 2, "HEAD_WIDTH", 12)
ASL = ("TRAINER.LOSS.NAME", "asl", "OPTIM.NAME", "adamw", "OPTIM.LR", 1e-3)


@pytest.fixture
def words(roots, tmp_path):
    def words(*more, tower="RN", output="out"):
        own = [f"TRAINER.CPRFL.{x}" if i % 2 == 0 else x for i, x in enumerate(SMALL)]
        chosen = [str(word) for word in (*ASL, *own, *more)]
        return arguments(roots[tower], "CPRFL", tmp_path / output, *chosen, tower=tower)

    return words


@pytest.fixture
def build(words):
    return lambda *more, **where: built(words(*more, **where))


@pytest.mark.parametrize("tower", TOWERS)
def test_logits_and_loss_are_those_of_the_head_on_clips_regions_and_texts(tower, build):
    trainer = build(tower=tower)
    model, head = trainer.model.eval(), trainer.model.learner
    views, targets = trainer.parse_batch_train(next(iter(trainer.train_loader_x)))
    texts = trainer.clip.clip_model.encode_text(tokenize([f"a photo of a {n}." for n in NAMES]))
    texts = 32**0.5 * texts / texts.norm(dim=-1, keepdim=True)
    prompts = head.prompt[2](F.gelu(head.prompt[0](texts)))
    seen = head.layer(prompts, head.region(views.local_features))
    expected = torch.einsum("bcw,cw->bc", seen, prompts)
    logits = model.logits(views, model.text_features())
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4)
    loss = model.loss(logits, targets, None)["loss"]
    entries = naive.asymmetric(logits, targets, 4, 0, 0.05, detach=True)
    torch.testing.assert_close(loss, naive.reduced(entries, "mean"))


def test_all_of_it_learns_and_nothing_of_clip(build):
    trainer = build("OPTIM.MAX_EPOCH", 2)
    before = {n: p.detach().clone() for n, p in trainer.model.learner.named_parameters()}
    frozen = {n: p.clone() for n, p in trainer.clip.clip_model.state_dict().items()}
    trainer.train()
    learner = trainer.model.learner
    still = {n for n, p in learner.named_parameters() if torch.equal(p, before[n])}
    assert still <= {"layer.keys.bias"}  # behind a softmax over keys; weight decay may move it
    assert not hasattr(learner.affine, "log_gain")
    for name, value in trainer.clip.clip_model.state_dict().items():
        assert torch.equal(value, frozen[name]), name


def test_the_image_tower_learns_where_it_is_tuned(build):
    trainer = build("TRAINER.TUNE.NAME", "norm", "OPTIM.MAX_EPOCH", 1)
    weight = trainer.clip.clip_model.visual.bn1.weight
    before = weight.detach().clone()
    trainer.train()
    assert not torch.equal(weight, before)


def test_words_of_a_caption_can_stand_for_regions(build):
    model = build().model.eval()
    words = F.normalize(torch.randn(2, 5, 32), dim=-1)
    mask = torch.tensor([[True] * 5, [True, True, False, False, False]])
    logits = model.logits(Features(words[:, 0], words, mask), model.text_features())
    short = model.logits(Features(words[1:, 0], words[1:, :2]), model.text_features())
    torch.testing.assert_close(logits[1:], short, rtol=1e-4, atol=1e-5)


def test_a_run_takes_other_classes(words, tmp_path):
    train.main(words("OPTIM.MAX_EPOCH", 1))
    other = load_run(tmp_path / "out", classnames=["wolf", "owl"])
    side = other.cfg.INPUT.SIZE
    assert other.logits(torch.rand(3, 3, *side)).shape == (3, 2)


def test_the_seed_decides_the_start(build):
    first, second, third = (build("--seed", seed).model.learner.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["region.weight"], third["region.weight"])


def test_values_out_of_range_are_refused(build):
    for key in ("WIDTH", "HEADS", "HEAD_WIDTH"):
        with pytest.raises(ValueError, match=f"TRAINER.CPRFL.{key} must be 1 or more, got 0"):
            build(f"TRAINER.CPRFL.{key}", 0)
    with pytest.raises(ValueError, match=r"DROPOUT must be in \[0, 1\), got 1"):
        build("TRAINER.CPRFL.DROPOUT", 1)
    with pytest.raises(ValueError, match="TRAINER.CPRFL.TEMPLATE must hold"):
        build("TRAINER.CPRFL.TEMPLATE", "a photo")
