from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from modeling.clip.tokenizer import CONTEXT_LENGTH
from modeling.encoders.features import Features
from modeling.prompts.class_draw import draw_classes
from modeling.prompts.prompt_learner import PromptLearner
from tests.helpers.models.small_clip import TOWERS
from tests.helpers.models.small_trainer import assert_same_gradients, built, write_calm_set
from tests.helpers.models.small_trainer import build as build_trainer
from tests.helpers.naive import naive_losses as naive
from tests.helpers.sets.small_set import NAMES, arguments
from tests.helpers.tolerance import assert_as_exact, in_double

PAPER_LOSS = (
    *("TRAINER.LOSS.NAME", "asl", "TRAINER.LOSS.ASL.GAMMA_NEG", 2.0),
    *("TRAINER.LOSS.ASL.GAMMA_POS", 1.0, "TRAINER.LOSS.ASL.EPS", 1e-6),
    *("TRAINER.LOSS.ASL.REDUCTION", "per_image"),
)


@pytest.fixture
def build(roots, tmp_path):
    def build(*more, trainer="DualCoOp", tower="RN"):
        keys = [str(word) for word in (*PAPER_LOSS, *more)]
        words = arguments(roots[tower], trainer, tmp_path / "out", *keys, tower=tower)
        return built(words)

    return build


def first_batch(trainer):
    trainer.batch_idx, trainer.num_batches = 0, 2
    views, targets = trainer.parse_batch_train(next(iter(trainer.train_loader_x)))
    return views, targets


def clips_own_text_features(learner, role, clip_model):
    """All 77 positions through CLIP's own modules."""
    padding = clip_model.token_embedding.weight[0]
    padding = padding.expand(len(NAMES), CONTEXT_LENGTH - learner.length, -1)
    prompts = torch.cat([learner(role).to(padding.dtype), padding], dim=1)
    x = prompts + clip_model.positional_embedding
    x = clip_model.ln_final(clip_model.transformer(x.transpose(0, 1)).transpose(0, 1))
    x = x[torch.arange(len(NAMES)), learner.eot] @ clip_model.text_projection
    return x / x.norm(dim=-1, keepdim=True)


def naive_logits(
    views, evidence, positive, negative, scale, region_scale, competition, names=NAMES
):
    """z+ - z-, one image, class and region at a time; checked against the softmax of the pair."""
    regions = views.local_features
    logits = []
    for image in regions:
        for c in range(len(names)):
            shares = torch.stack([region_scale * region @ evidence[c] for region in image])
            shares = shares.softmax(dim=0)
            fits = []
            for region in image:
                own = torch.stack([region @ text for text in positive])
                won = (200 * own * own.max()).softmax(dim=0)
                fits.append(own[c] * won[c] / won.max() if competition else own[c])
            z_pos = scale * sum(s * fit for s, fit in zip(shares, fits, strict=True))
            z_neg = scale * sum(
                s * (region @ negative[c]) for s, region in zip(shares, image, strict=True)
            )
            pair = torch.stack([z_neg, z_pos]).softmax(dim=0)
            torch.testing.assert_close(torch.sigmoid(z_pos - z_neg), pair[1])
            logits.append(z_pos - z_neg)
    return torch.stack(logits).view(len(regions), len(names))


@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("method", ["DualCoOp", "DualCoOpPP"])
def test_logits_loss_and_gradients_equal_a_naive_computation(method, tower, build):
    trainer = build(trainer=method, tower=tower)
    views, targets = first_batch(trainer)
    targets[0, 0] = -1
    regions = views.local_features  # of a random tower, which differ little among themselves
    regions = F.normalize(regions + 0.2 * torch.randn(regions.shape), dim=-1)
    views = Features(views.global_features, regions)
    logits = trainer.model.logits(views, trainer.model.text_features())
    loss = trainer.model.loss(logits, targets, None)["loss"]

    scales = {"DualCoOp": (100, 20), "DualCoOpPP": (math.exp(3), math.exp(3))}[method]
    competition, learner = method == "DualCoOpPP", trainer.model.learner
    found = [(logits, loss)]
    for clip in (in_double(trainer.clip.clip_model), trainer.clip.clip_model):
        texts = {role: clips_own_text_features(learner, role, clip) for role in trainer.model.roles}
        evidence = texts.get("evidence", texts["pos"])
        given = Features(views.global_features, regions.to(clip.dtype))
        expected = naive_logits(given, evidence, texts["pos"], texts["neg"], *scales, competition)
        entries = naive.asymmetric(expected, targets, 2, 1, 0.05, detach=True)
        found.insert(1, (expected, naive.reduced(entries, "per_image", images=len(targets))))
    contexts = [learner.get_parameter(f"ctx_{role}") for role in trainer.model.roles]
    gradients = [torch.autograd.grad(loss, contexts) for _, loss in found]
    for values in (*zip(*found, strict=True), *zip(*gradients, strict=True)):
        assert_as_exact(*values)


@pytest.mark.parametrize("method", ["DualCoOp", "DualCoOpPP"])
@pytest.mark.parametrize("shared", [False, True])
def test_a_step_on_drawn_classes_equals_a_naive_one_that_knows_no_others(method, shared, tmp_path):
    node = f"TRAINER.{method.upper()}"
    write_calm_set(tmp_path, "RN")
    more = (f"{node}.CLASSES_PER_STEP", 2, f"{node}.CSC", not shared)
    more += (f"{node}.UNSEEN", "['tv']" if shared else "[]", *PAPER_LOSS)
    more += ("TRAINER.LOSS.ASL.EPS", 1e-30)  # the naive loss has no floor
    trainer = build_trainer(tmp_path, method, tmp_path / "out", *more, tower="RN")
    model, learner = trainer.model, trainer.model.learner
    contexts = [learner.get_parameter(f"ctx_{role}") for role in model.roles]
    scales = {"DualCoOp": (100, 20), "DualCoOpPP": (math.exp(3), math.exp(3))}[method]
    seen = set()
    batches = list(trainer.train_loader_x)
    trainer.data.start_epoch(1)
    for batch in [*batches, *trainer.train_loader_x]:
        views, targets = trainer.parse_batch_train(batch)
        targets[:, 0] = -1  # nobody knows whether there are cats
        regions = views.local_features  # of a random tower, which differ little among themselves
        regions = F.normalize(regions + 0.2 * torch.randn(regions.shape), dim=-1)
        views = Features(views.global_features, regions)
        loss = model.terms(views, targets, *trainer.data.batch_places(batch))["loss"]
        known = torch.tensor([False, True, True, not shared])
        drawn = sorted(draw_classes(batch["sample_seed"], known, 2).tolist())
        texts = {role: model.encode_role(role)[drawn] for role in model.roles}
        evidence = texts.get("evidence", texts["pos"])
        given = (views, evidence, texts["pos"], texts["neg"], *scales)
        expected = naive_logits(*given, competition=method == "DualCoOpPP", names=drawn)
        entries = naive.asymmetric(expected, targets[:, drawn], 2, 1, 0.05, detach=True)
        naive_loss = naive.reduced(entries, "per_image", images=len(targets))
        torch.testing.assert_close(loss, naive_loss, rtol=1e-4, atol=1e-5)
        assert_same_gradients(loss, naive_loss, contexts)
        seen.add(tuple(drawn))
    assert seen == {(1, 2)} if shared else len(seen) > 1
    assert len(model.text_features()[0]) == len(NAMES)  # an evaluation has all


def test_as_many_drawn_classes_as_there_are_change_nothing(build):
    losses = []
    for count in (0, len(NAMES), 99):
        trainer = build("TRAINER.DUALCOOP.CLASSES_PER_STEP", count)
        batch = next(iter(trainer.train_loader_x))
        views, targets = trainer.parse_batch_train(batch)
        places = trainer.data.batch_places(batch)
        losses.append(trainer.model.terms(views, targets, *places)["loss"].item())
    assert len(set(losses)) == 1
    with pytest.raises(ValueError, match="CLASSES_PER_STEP must be"):
        build("TRAINER.DUALCOOP.CLASSES_PER_STEP", -1)


def test_the_same_contexts_for_both_signs_leave_every_class_undecided(build):
    trainer = build("TRAINER.DUALCOOP.CTX_INIT", "a photo of a")
    logits = trainer.model.logits(first_batch(trainer)[0], trainer.model.text_features())
    torch.testing.assert_close(logits.sigmoid(), torch.full_like(logits, 0.5))


def test_it_has_as_many_values_as_published():
    """COCO, class-specific, 16 tokens for each sign, texts 512 wide."""
    rows = torch.zeros(1, 512).expand(49408, 512)

    class Embedding(SimpleNamespace):
        weight = rows

        def __call__(self, tokens):
            return F.embedding(tokens, self.weight)

    clip_model = SimpleNamespace(token_embedding=Embedding())
    names = [f"class {i}" for i in range(80)]
    learner = PromptLearner(names, clip_model, ("pos", "neg"), n_ctx=16, csc=True)
    assert sum(p.numel() for p in learner.parameters()) == 1_310_720


def test_scales_are_fixed_or_learnt(build):
    fixed = build()
    assert set(fixed.model.learner.state_dict()) == {"ctx_pos", "ctx_neg"}
    learnt = build(
        *("TRAINER.DUALCOOP.LOGIT_SCALE", 50.0, "TRAINER.DUALCOOP.LOGIT_SCALE_LEARNABLE", True),
        *("TRAINER.DUALCOOP.REGION_SCALE", 20.0, "TRAINER.DUALCOOP.REGION_SCALE_LEARNABLE", True),
    )
    gains = {"affine.log_gain", "region_scale.log_gain"}
    assert gains < set(learnt.model.learner.state_dict())
    views, targets = first_batch(learnt)
    half = learnt.model.logits(views, learnt.model.text_features())
    torch.testing.assert_close(
        half, fixed.model.logits(views, fixed.model.text_features()) / 2, rtol=1e-3, atol=1e-4
    )
    learnt.model.loss(half, targets, None)["loss"].backward()
    for name in gains:
        assert learnt.model.learner.get_parameter(name).grad.abs() > 0
    with pytest.raises(ValueError, match="REGION_SCALE must be above 0 where REGION_SCALE_LEARN"):
        build("TRAINER.DUALCOOP.REGION_SCALE", 0.0, "TRAINER.DUALCOOP.REGION_SCALE_LEARNABLE", True)


def test_labels_of_unseen_classes_reach_no_context(build):
    trainer = build("TRAINER.DUALCOOP.CSC", False, "TRAINER.DUALCOOP.UNSEEN", "['dog','tv']")
    views, targets = first_batch(trainer)
    unseen = torch.tensor([name in ("dog", "tv") for name in NAMES])
    logits = trainer.model.logits(views, trainer.model.text_features())
    losses = [
        trainer.model.loss(logits, targets.masked_fill(unseen, label), {})["loss"]
        for label in (0, 1)
    ]
    assert losses[0] == losses[1] > 0
    (gradient,) = torch.autograd.grad(losses[0], logits)
    assert (gradient[:, unseen] == 0).all() and (gradient[:, ~unseen] != 0).any()


def test_unseen_classes_need_shared_contexts_and_known_names(build):
    with pytest.raises(ValueError, match="Add: TRAINER.DUALCOOP.CSC False"):
        build("TRAINER.DUALCOOP.UNSEEN", "['dog']")
    with pytest.raises(ValueError, match="Did you mean 'dog'"):
        build("TRAINER.DUALCOOP.CSC", False, "TRAINER.DUALCOOP.UNSEEN", "['dogs']")


def test_winner_take_all_in_training_in_evaluation_or_never(build):
    logits = {}
    for when in ("both", "train", "off"):
        trainer = build("TRAINER.DUALCOOPPP.WINNER_TAKES_ALL", when, trainer="DualCoOpPP")
        views, _ = first_batch(trainer)
        for mode in ("train", "eval"):
            trainer.set_model_mode(mode)
            logits[when, mode] = trainer.model.logits(views, trainer.model.text_features())
    on, off = logits["both", "train"], logits["off", "train"]
    assert not torch.allclose(on, off)
    assert torch.equal(logits["both", "eval"], on) and torch.equal(logits["train", "train"], on)
    assert torch.equal(logits["train", "eval"], off) and torch.equal(logits["off", "eval"], off)
    with pytest.raises(ValueError, match="WINNER_TAKES_ALL must be one of both, train, off"):
        build("TRAINER.DUALCOOPPP.WINNER_TAKES_ALL", "test", trainer="DualCoOpPP")


def test_words_of_a_caption_can_stand_for_regions(build):
    trainer = build()
    words = F.normalize(torch.randn(2, 5, 32), dim=-1)
    mask = torch.tensor([[True] * 5, [True, True, False, False, False]])
    texts = trainer.model.text_features()
    logits = trainer.model.logits(Features(words[:, 0], words, mask), texts)
    short = trainer.model.logits(Features(words[1:, 0], words[1:, :2]), texts)
    torch.testing.assert_close(logits[1:], short)


@pytest.mark.parametrize("method", ["DualCoOp", "DualCoOpPP"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "amp"])
def test_it_trains_in_every_precision_and_on_other_sizes(precision, method, build):
    node = f"TRAINER.{method.upper()}"
    trainer = build(
        *(f"{node}.PREC", precision, "INPUT.SIZE", "(64, 96)", "OPTIM.MAX_EPOCH", 2),
        *("MODEL.DENSE.POS_EMBED", True, "MODEL.DENSE.MEAN_TOKEN", True),
        *("DATASET.LABEL_PROPORTION", 0.5),
        trainer=method,
    )
    assert (trainer.data.targets == -1).any()
    start = {name: p.detach().clone() for name, p in trainer.model.learner.named_parameters()}
    trainer.train()
    for name, parameter in trainer.model.learner.named_parameters():
        assert torch.isfinite(parameter).all() and not torch.equal(parameter, start[name]), name
