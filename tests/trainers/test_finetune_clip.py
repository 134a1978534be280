from __future__ import annotations

import pytest
import torch

from modeling.clip.loader import tokenize
from tests.helpers.models.small_trainer import (
    assert_same_gradients,
    build,
    first_step,
    image_features,
    write_calm_set,
)
from tests.helpers.naive.naive_losses import bce
from tests.helpers.sets.small_set import NAMES, results

BOTH = ("LinearProbe", "FinetuneCLIP")


@pytest.fixture
def make(tower, tmp_path):
    write_calm_set(tmp_path, tower)

    def make(name, *more, output="out"):
        options = ("OPTIM.NAME", "adamw", "OPTIM.LR", 1e-3, *more)
        return build(tmp_path, name, tmp_path / output, *options, tower=tower)

    return make


@pytest.mark.parametrize("name", BOTH)
def test_a_step_is_a_linear_layer_on_unit_features(name, make):
    trainer = make(name, "TRAINER.LOSS.NAME", "bce")
    batch, targets, logits, loss = first_step(trainer)
    head = trainer.model.learner.head
    expected = image_features(trainer, batch) @ head.weight.T + head.bias
    assert torch.allclose(logits, expected, atol=1e-4)
    naive = torch.stack(bce(expected.double(), targets)).mean()
    assert float(loss.detach()) == pytest.approx(float(naive.detach()), rel=1e-4)
    # Behind a ReLU that an input of exactly 0 reaches, a gradient is 0 here and there.
    trained = [p for n, p in trainer.model.learner.named_parameters() if "visual" not in n]
    trained += [trainer.clip.clip_model.visual.conv1.weight] if name == "FinetuneCLIP" else []
    assert_same_gradients(loss, naive, trained)


def test_a_head_from_texts_starts_as_zero_shot_clip(make):
    trainer = make("LinearProbe")
    batch, _, logits, _ = first_step(trainer)
    text_features = trainer.clip.clip_model.encode_text(
        tokenize([f"a photo of a {name}." for name in NAMES])
    )
    text_features = text_features / text_features.norm(dim=-1, keepdim=True)
    scale = trainer.clip.clip_model.logit_scale.exp()
    assert torch.allclose(
        logits, scale * image_features(trainer, batch) @ text_features.T, atol=1e-4
    )
    zeros = make("LinearProbe", "TRAINER.LINEARPROBE.INIT", "zeros")
    assert not first_step(zeros)[2].any()


@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("name", BOTH)
def test_a_centred_head_starts_with_a_mean_logit_of_zero(name, centre, make):
    trainer = make(name, f"TRAINER.{name.upper()}.CENTRE", centre)
    trainer.before_train()
    trainer.close_writer()
    with torch.no_grad():
        views = [trainer.parse_batch_train(batch)[0] for batch in trainer.train_loader_x]
        logits = torch.cat([trainer.model.logits(some, None) for some in views])
    assert (abs(float(logits.mean())) < 1e-4) is centre


@pytest.mark.parametrize("key", ["MODEL.INIT_WEIGHTS", "RESUME"])
def test_a_head_that_has_learnt_is_not_centred_again(key, make, tmp_path):
    first = make("LinearProbe")
    first.train()
    where = {
        "MODEL.INIT_WEIGHTS": tmp_path / "out/model/model.pth.tar-4",
        "RESUME": tmp_path / "out",
    }
    second = make("LinearProbe", key, where[key], output="second")
    second.before_train()
    second.close_writer()
    for name, value in first.model.learner.state_dict().items():
        assert torch.equal(second.model.learner.state_dict()[name], value)


def test_a_probe_trains_the_head_alone(make, tmp_path):
    trainer = make("LinearProbe")
    before = {name: value.clone() for name, value in trainer.clip.clip_model.state_dict().items()}
    start = trainer.model.learner.head.weight.detach().clone()
    trainer.train()
    assert not torch.equal(trainer.model.learner.head.weight, start)
    assert list(trainer.model.learner.state_dict()) == ["head.weight", "head.bias"]
    for name, value in trainer.clip.clip_model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_fine_tuning_trains_head_and_image_tower_at_their_rates(make, tmp_path):
    trainer = make("FinetuneCLIP", "TRAINER.FINETUNECLIP.ENCODER_LR_MULT", 0.01)
    head, tower = trainer.optim.param_groups
    assert [p.shape for p in head["params"]] == [(len(NAMES), 32), (len(NAMES),)]
    assert {id(p) for p in tower["params"]} == {
        id(p) for p in trainer.clip.clip_model.visual.parameters()
    }
    assert (head["initial_lr"], tower["initial_lr"]) == pytest.approx((1e-3, 1e-5))
    before = {name: value.clone() for name, value in trainer.clip.clip_model.state_dict().items()}
    trainer.train()
    learnt = {
        n for n, v in trainer.clip.clip_model.state_dict().items() if not torch.equal(v, before[n])
    }
    assert {
        f"visual.{name}" for name, _ in trainer.clip.clip_model.visual.named_parameters()
    } >= learnt
    assert "visual.conv1.weight" in learnt
    assert results(tmp_path / "out")["epoch"] == 4
    again = make("FinetuneCLIP", output="again")
    again.load_model(str(tmp_path / "out"))
    assert (tmp_path / "out" / "model" / "model.pth.tar-4").is_file()
    assert again.test() == pytest.approx(trainer.test())


def test_an_evaluation_keeps_no_graph_of_the_tower(make):
    trainer = make("FinetuneCLIP")
    batch = next(iter(trainer.train_loader_x))
    assert trainer.parse_batch_train(batch)[0].global_features.requires_grad
    with torch.no_grad():  # as when TEST.SAVE_SCORES reads the training images
        assert not trainer.parse_batch_train(batch)[0].global_features.requires_grad


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_weights_are_not_trained(precision, make):
    with pytest.raises(ValueError, match="PREC must be one of fp32, amp.*amp is as fast"):
        make("FinetuneCLIP", "TRAINER.FINETUNECLIP.PREC", precision)
    make("LinearProbe", "TRAINER.LINEARPROBE.PREC", precision)


def test_the_tower_does_not_learn_uphill(make):
    with pytest.raises(ValueError, match="ENCODER_LR_MULT must be 0 or more, got -0.1"):
        make("FinetuneCLIP", "TRAINER.FINETUNECLIP.ENCODER_LR_MULT", -0.1)


def test_amp_trains_fp32_weights(make):
    trainer = make("FinetuneCLIP", "TRAINER.FINETUNECLIP.PREC", "amp")
    trainer.train()
    assert all(p.dtype is torch.float32 for p in trainer.model.learner.parameters())
    assert all(torch.isfinite(p).all() for p in trainer.model.learner.parameters())


@pytest.mark.parametrize("name", BOTH)
def test_unknown_starts_and_templates_are_refused(name, make):
    node = f"TRAINER.{name.upper()}"
    with pytest.raises(ValueError, match=f"{node}.INIT must be one of .*Did you mean 'text'"):
        make(name, f"{node}.INIT", "texts")
    with pytest.raises(ValueError, match=f"{node}.TEMPLATE must hold"):
        make(name, f"{node}.TEMPLATE", "a photo")
