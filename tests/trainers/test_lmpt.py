from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F

from losses import LOSSES
from modeling.clip.tokenizer import tokenize_captions
from tests.helpers.models.small_trainer import built, loss_batch
from tests.helpers.sets.small_set import NAMES, arguments, write_set
from trainers.lmpt import PRESETS


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_set(root)
    return root


@pytest.fixture
def build(root, tmp_path):
    def build(*more):
        words = arguments(root, "LMPT", tmp_path / "out", *map(str, more))
        return built(words)

    return build


def first_batch(trainer):
    trainer.batch_idx, trainer.num_batches = 0, 2
    batch = next(iter(trainer.train_loader_x))
    views, targets = trainer.parse_batch_train(batch)
    return loss_batch(batch, views, trainer.model.text_features()), views, targets


def naive_embedding_loss(trainer, batch, targets, preset):
    """Presets by loops over images, classes and positions, from the release's and paper's words."""
    general, clip_model = trainer.method_cfg.M_CTX, trainer.clip.clip_model
    embed, learner = clip_model.token_embedding, trainer.model.learner
    counts = torch.as_tensor(trainer.dm.dataset.class_counts).double()
    padding = embed.weight[0].expand(len(NAMES), 77 - learner.length, -1)
    prompts = torch.cat([learner(), padding], dim=1).double()  # [C, 77, E]
    contexts = learner.contexts().double()
    captions = [" ".join(trainer.dm.dataset.captions[i]) for i in batch.index.tolist()]
    entries = []
    for b, c in itertools.product(range(len(captions)), range(len(NAMES))):
        ids = tokenize_captions([captions[b]])[0]
        seen = embed(ids).double()
        present = bool(targets[b, c] == 1)
        if preset == "paper":
            words = seen[1 : int(ids.argmax())]
            mine = contexts[c, general:]
            count = min(len(words), len(mine))
            cosines = [F.cosine_similarity(words[p], mine[p], dim=0) for p in range(count)]
            delta = 1 - torch.stack(cosines).mean()
            margin = 1.0 * counts[c] ** -0.25
            loss = delta if present else torch.relu(margin - delta)
            entries.append(counts[c] ** -1 / (counts**-1.0).sum() * loss)
        else:
            distances = [
                1 - F.cosine_similarity(seen[p], prompts[c, general + p], dim=0)
                for p in range(77 - general)
            ]
            dot = torch.stack(distances).sum() * (1 if present else -1)
            loss = torch.relu(0.2 * counts[c] ** -0.25 - dot)
            entries.append(counts[c] ** -2 / (counts**-2.0).sum() * loss)
    total = torch.stack(entries).sum() / len(captions)
    return total if preset == "paper" else total / len(NAMES)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_equal_their_naive_form_in_value_and_gradient(preset, build):
    trainer = build("TRAINER.LMPT.PRESET", preset)
    batch, _, targets = first_batch(trainer)
    ours = trainer.model.embedding_loss(targets, batch)
    theirs = naive_embedding_loss(trainer, batch, targets, preset)
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-4)
    ctx = trainer.model.learner.ctx
    ours, theirs = (torch.autograd.grad(loss, ctx)[0] for loss in (ours, theirs))
    torch.testing.assert_close(ours, theirs.float(), rtol=1e-3, atol=1e-6)


def test_hinge_pulls_present_classes_and_the_release_pushes_them(build):
    for preset, present_sign in (("paper", 1), ("released_repaired", -1)):
        # Margins so wide that every hinge is open.
        trainer = build("TRAINER.LMPT.PRESET", preset, "TRAINER.LMPT.CSE.MARGIN", 500.0)
        batch, _, targets = first_batch(trainer)
        rows, _ = trainer.model.captions.rows(batch.index, batch.sample_seed)
        distance = trainer.model.distance(rows, None).detach().requires_grad_()
        trainer.model.distance = lambda *_, distance=distance: distance
        trainer.model.embedding_loss(targets, batch).backward()
        assert (present_sign * distance.grad[targets == 1] > 0).all()
        assert (present_sign * distance.grad[targets == 0] < 0).all()


def test_loss_is_the_share_of_both_terms(build):
    trainer = build("TRAINER.LMPT.LAMBDA", 0.3)
    batch, views, targets = first_batch(trainer)
    logits = trainer.model.logits(views, batch.text)
    terms = trainer.model.loss(logits, targets, batch)
    expected = 0.3 * terms["loss_cls"] + 0.7 * terms["loss_cse"]
    torch.testing.assert_close(terms["loss"], expected)


def test_cse_keys_replace_what_the_preset_says(build):
    trainer = build("TRAINER.LMPT.PRESET", "released_repaired", "TRAINER.LMPT.CSE.GAMMA", 0)
    assert trainer.model.cse.GAMMA == 0 and trainer.model.cse.sign == "inverted"
    assert torch.allclose(trainer.model.weights, torch.full((len(NAMES),), 1 / len(NAMES)))
    with pytest.raises(ValueError, match="PRESET must be one of paper, released_repaired"):
        build("TRAINER.LMPT.PRESET", "published")


def test_images_without_captions_take_no_part(build, root, monkeypatch):
    trainer = build()
    batch, _, targets = first_batch(trainer)
    whole = trainer.model.embedding_loss(targets, batch)
    trainer.model.captions._count[batch.index] = 0
    assert float(trainer.model.embedding_loss(targets, batch).detach()) == 0
    assert float(whole.detach()) > 0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_without_nan(loss, precision, build):
    trainer = build("TRAINER.LOSS.NAME", loss, "TRAINER.LMPT.PREC", precision, "OPTIM.MAX_EPOCH", 2)
    start = trainer.model.learner.ctx.detach().clone()
    trainer.train()
    assert torch.isfinite(trainer.model.learner.ctx).all()
    assert not torch.equal(trainer.model.learner.ctx, start)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("space", ["token", "pooled", "text"])
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_trains_without_nan(preset, space, precision, build):
    trainer = build(
        *("TRAINER.LMPT.PRESET", preset, "TRAINER.LMPT.CSE.SPACE", space),
        *("TRAINER.LMPT.PREC", precision, "OPTIM.MAX_EPOCH", 2),
    )
    trainer.train()
    assert torch.isfinite(trainer.model.learner.ctx).all()


@pytest.mark.parametrize("variant", ["paper", "official", "lmpt"])
@pytest.mark.parametrize("bias", ["fixed", "learnt"])
def test_logit_options_train_and_are_restored(variant, bias, build):
    options = ("TRAINER.LMPT.COSINE_OFFSET", bias, "TRAINER.LMPT.LOGIT_SCALE_LEARNABLE", True)
    trainer = build(*options, "TRAINER.LOSS.DB.VARIANT", variant)
    trainer.train()
    again = build(*options)
    again.load_model(trainer.output_dir)
    assert torch.equal(again.model.scale.offset, trainer.model.scale.offset)
    assert float(trainer.model.scale.offset.detach()) != 0
    assert again.test() == pytest.approx(trainer.test())
