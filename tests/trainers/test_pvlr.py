from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from modeling.clip.loader import tokenize
from modeling.encoders.features import Features
from modeling.prompts.prompt_model import Batch
from tests.helpers.models.small_clip import TOWERS
from tests.helpers.models.small_trainer import built
from tests.helpers.naive import naive_losses as naive
from tests.helpers.sets.small_set import NAMES, arguments, results
from tests.helpers.tolerance import assert_as_exact, in_double

ASL = ("TRAINER.LOSS.NAME", "asl", "OPTIM.NAME", "adamw", "OPTIM.LR", 1e-3)


@pytest.fixture
def build(roots, tmp_path):
    def build(*more, tower="RN"):
        keys = [str(word) for word in (*ASL, *more)]
        words = arguments(roots[tower], "PVLR", tmp_path / "out", *keys, tower=tower)
        return built(words)

    return build


def first_batch(trainer):
    views, targets = trainer.parse_batch_train(next(iter(trainer.train_loader_x)))
    return views, targets


def stir(module):
    """Parameters away from their starts, which hold zeros."""
    for name, parameter in module.named_parameters():
        if "log_gain" not in name:
            nn.init.normal_(parameter, std=0.3)


def clips_own_features(trainer, template):
    texts = [template.format(name) for name in NAMES]
    return F.normalize(trainer.clip.clip_model.encode_text(tokenize(texts)), dim=-1)


@pytest.mark.parametrize("tower", TOWERS)
def test_logits_loss_and_gradients_equal_a_naive_computation(tower, build):
    trainer = build(tower=tower)
    learner = trainer.model.learner
    stir(learner)
    views, targets = first_batch(trainer)
    logits = trainer.model.logits(views, trainer.model.text_features())
    loss = trainer.model.loss(logits, targets, None)["loss"]

    found, learners = [(logits, loss)], [learner]
    for its in (in_double(learner), learner):
        expected = naive_logits(trainer, its, views)
        entries = naive.asymmetric(expected, targets, 4, 0, 0.05, detach=True)
        found.insert(1, (expected, naive.reduced(entries, "mean")))
        learners.insert(1, its)
    gradients = []
    for its, (_, value) in zip(learners, found, strict=True):
        trained = [p for n, p in its.named_parameters() if "affine" not in n]
        gradients.append(torch.autograd.grad(value, trained, retain_graph=True))
    for values in (*zip(*found, strict=True), *zip(*gradients, strict=True)):
        assert_as_exact(*values)


def naive_logits(trainer, learner, views):
    """Logits [B, C] by loops over images, classes and regions, in the learner's precision."""
    dtype = learner.ctx.dtype
    known = clips_own_features(trainer, "a photo of a {}.").to(dtype)
    names = clips_own_features(trainer, "{}").to(dtype)
    known = learner.relate_known(known)
    learnt = learner.relate_learnt(torch.cat([learner.ctx, names]))[len(learner.ctx) :]
    labels = learner.fuse(known, learnt)
    rows = []
    for b in range(len(views)):
        regions = learner.region_norm(views.local_features[b : b + 1].to(dtype))
        seen, regions = (x[0] for x in learner.exchange(labels, regions))  # [C, D], [R, D]
        for c in range(len(NAMES)):
            fits = torch.stack([F.cosine_similarity(seen[c], r, dim=0) for r in regions])
            weights = (20 * fits).softmax(dim=0)
            visual = sum(w * F.normalize(r, dim=0) for w, r in zip(weights, regions, strict=True))
            rows.append(20 * visual @ F.normalize(seen[c], dim=0) + learner.class_bias[c])
    return torch.stack(rows).view(len(views), -1)


def test_before_training_classes_score_by_clips_own_alignment(build):
    """Centred cosines of CLIP's features, each class pooling the regions that fit it."""
    trainer = build()
    views, _ = first_batch(trainer)
    labels = clips_own_features(trainer, "a photo of a {}.") + clips_own_features(trainer, "{}")
    labels, regions = (x - x.mean(dim=-1, keepdim=True) for x in (labels, views.local_features))
    cosines = F.normalize(regions, dim=-1) @ F.normalize(labels, dim=-1).t()  # [B, R, C]
    expected = 20 * ((20 * cosines).softmax(dim=1) * cosines).sum(dim=1) - 2
    logits = trainer.model.logits(views, trainer.model.text_features())
    torch.testing.assert_close(logits, expected, rtol=2e-2, atol=2e-2)


def test_contexts_behind_the_tower_leave_it_alone_in_the_step(build, monkeypatch):
    trainer = build()
    start = trainer.model.text_features()[0]

    def refuse(*_):
        raise RuntimeError("the text tower ran")

    monkeypatch.setattr(trainer.clip.text_encoder, "forward", refuse)
    assert torch.equal(trainer.model.text_features()[0], start)
    trainer = build("TRAINER.PVLR.CONTEXT_SIDE", "pre")
    monkeypatch.setattr(trainer.clip.text_encoder, "forward", refuse)
    with pytest.raises(RuntimeError, match="the text tower ran"):
        trainer.model.text_features()


def test_contexts_in_the_tower_learn_and_stand_as_coops_do(build):
    trainer = build("TRAINER.PVLR.CONTEXT_SIDE", "pre")
    views, targets = first_batch(trainer)
    logits = trainer.model.logits(views, trainer.model.text_features())
    trainer.model.loss(logits, targets, None)["loss"].backward()
    prompts = trainer.model.learner.prompts
    assert prompts.ctx.shape[0] == 4 and prompts.ctx.grad.abs().max() > 0
    assert not hasattr(trainer.model.learner, "ctx")


@pytest.mark.parametrize(
    "changes",
    [
        ("LABELS", "kap"),
        ("LABELS", "kap", "CONTEXT_SIDE", "pre"),
        ("LABELS", "cap"),
        ("LABELS", "sum", "CONTEXT_SIDE", "pre"),
        ("CROSS_ATTENTION", "labels"),
        ("CROSS_ATTENTION", "regions"),
        ("CROSS_ATTENTION", "off", "LABELS", "cap", "CONTEXT_SIDE", "pre"),
        ("AGREEMENT", 0.5, "COSINE_OFFSET", "learnt"),
        ("REGION_SCALE", 10.0, "REGION_SCALE_LEARNABLE", True, "PREC", "bf16"),
        ("PREC", "amp", "CONTEXT_SIDE", "pre"),
    ],
)
def test_every_switch_trains_all_that_it_leaves(changes, build):
    keys = [f"TRAINER.PVLR.{x}" if i % 2 == 0 else x for i, x in enumerate(changes)]
    trainer = build(*keys, "OPTIM.MAX_EPOCH", 2)
    start = {name: p.detach().clone() for name, p in trainer.model.learner.named_parameters()}
    trainer.train()
    # Behind a softmax over keys a bias of the keys changes nothing; weight decay may.
    still = {
        name for name, p in trainer.model.learner.named_parameters() if torch.equal(p, start[name])
    }
    assert all(torch.isfinite(p).all() for p in trainer.model.learner.parameters())
    assert still <= {"exchange.keys.bias"}, still


def test_one_sided_exchange_and_static_centres(build):
    for direction, centres in (("both", 3), ("labels", 3), ("regions", 2), ("off", 2)):
        trainer = build("TRAINER.PVLR.CROSS_ATTENTION", direction)
        learner, views = trainer.model.learner, first_batch(trainer)[0]
        labels = trainer.model.text_features()[0]
        seen, _ = learner.exchange(labels, views.local_features)
        assert seen.dim() == centres, direction  # [B, C, D] follow the image, [C, D] do not


def test_agreement_adds_the_disagreement_of_the_sources(build):
    trainer = build("TRAINER.PVLR.AGREEMENT", 0.5)
    views, targets = first_batch(trainer)
    text_features = trainer.model.text_features()
    logits = trainer.model.logits(views, text_features)
    terms = trainer.model.loss(logits, targets, Batch(views, text_features, None, None))
    known = clips_own_features(trainer, "a photo of a {}.")
    names = clips_own_features(trainer, "{}")
    expected = 1 - (known * names).sum(dim=-1).mean()
    torch.testing.assert_close(terms["disagreement"], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(terms["loss"], terms["loss_cls"] + 0.5 * expected)


def test_descriptions_and_templates_are_the_fixed_prompts(build, tmp_path):
    described = {name: [f"the {name} at home", f"one {name}"] for name in NAMES}
    (tmp_path / "words.json").write_text(json.dumps(described))
    trainer = build("TRAINER.PVLR.DESCRIPTIONS", tmp_path / "words.json")
    parts = [clips_own_features(trainer, "the {} at home"), clips_own_features(trainer, "one {}")]
    expected = F.normalize(torch.stack(parts).mean(dim=0), dim=-1)
    torch.testing.assert_close(trainer.model.learner.known, expected, rtol=1e-3, atol=1e-4)
    ensemble = build("TRAINER.PVLR.TEMPLATES", "ours").model.learner.known
    assert not torch.allclose(ensemble, build().model.learner.known)
    with pytest.raises(ValueError, match="takes TEMPLATES or DESCRIPTIONS, got both"):
        build("TRAINER.PVLR.TEMPLATES", "ours", "TRAINER.PVLR.DESCRIPTIONS", "x.json")


def test_words_of_a_caption_can_stand_for_regions(build):
    trainer = build()
    stir(trainer.model.learner)
    words = F.normalize(torch.randn(2, 5, 32), dim=-1)
    mask = torch.tensor([[True] * 5, [True, True, False, False, False]])
    texts = trainer.model.text_features()
    logits = trainer.model.logits(Features(words[:, 0], words, mask), texts)
    short = trainer.model.logits(Features(words[1:, 0], words[1:, :2]), texts)
    torch.testing.assert_close(logits[1:], short, rtol=1e-4, atol=1e-5)


def test_a_trained_model_scores_the_same_when_loaded(build, tmp_path):
    build("OPTIM.MAX_EPOCH", 2).train()
    trained = results(tmp_path / "out")["metrics"]
    again = build()
    again.load_model(str(tmp_path / "out"))
    again.test()
    assert results(tmp_path / "out")["metrics"] == trained


def test_the_seed_decides_the_start(build):
    first, second = (build().model.learner.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_unknown_choices_are_refused(build):
    for key, value in (("LABELS", "ifn"), ("CONTEXT_SIDE", "past"), ("CROSS_ATTENTION", "visual")):
        with pytest.raises(ValueError, match=f"TRAINER.PVLR.{key} must be one of"):
            build(f"TRAINER.PVLR.{key}", value)
    with pytest.raises(ValueError, match="HEADS must divide the features' width 32, got 5"):
        build("TRAINER.PVLR.HEADS", 5)
    with pytest.raises(ValueError, match="N_CTX must be 1 or more, got -1"):
        build("TRAINER.PVLR.N_CTX", -1)
    with pytest.raises(ValueError, match="AGREEMENT must be 0 or more, got -1"):
        build("TRAINER.PVLR.AGREEMENT", -1)
    with pytest.raises(ValueError, match="AGREEMENT must be 0 with .*with LABELS kap"):
        build("TRAINER.PVLR.AGREEMENT", 0.5, "TRAINER.PVLR.LABELS", "kap")
