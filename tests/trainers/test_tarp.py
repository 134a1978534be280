from __future__ import annotations

import math
import shutil

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from modeling.clip.loader import tokenize
from modeling.encoders.features import Features
from modeling.encoders.frozen_clip import FrozenClip, RegionOptions
from modeling.prompts.prompt_model import Batch
from tests.helpers.models.small_clip import TOWERS, random_clip
from tests.helpers.models.small_trainer import built
from tests.helpers.naive import naive_losses as naive
from tests.helpers.sets.small_set import NAMES, arguments, results
from tests.helpers.tolerance import assert_as_exact, in_double
from trainers.tarp import TARPModel

from losses import build_loss  # isort: skip

COUNTS = torch.tensor([40, 0, 7, 2])
TARGETS = torch.tensor([[1.0, 0, 0, -1], [0, 1, 1, 0], [0, 0, 0, 0]])
CAPTION_TARGETS = torch.tensor([[0.0, 1, 0, 0], [1, 0, 0, 1]])


def random_features(seed, count, regions, masked=False):
    """Unit features [count, 32] and [count, regions, 32]; of captions, all but the first short."""
    generator = torch.Generator().manual_seed(seed)
    whole, local = (
        F.normalize(torch.randn(*shape, 32, generator=generator), dim=-1)
        for shape in ((count,), (count, regions))
    )
    mask = None
    if masked:
        mask = torch.ones(count, regions, dtype=torch.bool)
        mask[1:, regions // 2 :] = False
    return Features(whole, local, mask)


def model_of(tower="ViT", texts=None, **options):
    clip = FrozenClip(random_clip(tower), regions=RegionOptions())
    criterion = build_loss("bce", COUNTS, 49)
    return TARPModel(NAMES, clip, COUNTS, 49 * len(NAMES), texts, criterion=criterion, **options)


def stir(learner):
    for parameter in learner.parameters():
        with torch.no_grad():
            parameter += 0.2 * torch.randn_like(parameter)


def dot(one, other):
    return sum(x * y for x, y in zip(one, other, strict=True))


def naive_regions(learner, number, regions):
    """Regions [R, D] as an adapter moves them, one by one."""
    if not hasattr(learner, "adapters"):
        return regions
    adapter = learner.adapters[number]
    size, widen, narrow = len(regions[0]) ** 0.5, adapter.widen, adapter.narrow
    moved = []
    for region in regions:
        hidden = widen.weight @ (size * region) + widen.bias
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
        sum_ = region + (narrow.weight @ hidden + narrow.bias) / size
        moved.append(sum_ / sum_.square().sum().sqrt())
    return moved


def naive_logits(learner, features, options):
    """Logits [B, C] image by image, class by class and region by region, as the equations say."""
    texts, moves = learner.texts, dict(learner.residuals)
    nothing = torch.zeros_like(texts[0])
    mean = sum(texts) / len(texts)

    def look(k, c, scored, weighed, beta):
        start = learner.beside[k - 1, c] if k else texts[c]
        moved = start + (moves["positive"][k, c] if "positive" in moves else nothing)
        positive = moved / moved.square().sum().sqrt()
        negative = mean + (moves["negative"][k, c] if "negative" in moves else nothing)
        if options.NEGATIVES == "off":
            negative = nothing
        weights = [(beta * dot(region, positive)).exp() for region in weighed]
        parts = (w * dot(r, positive - negative) for w, r in zip(weights, scored, strict=True))
        return options.LOGIT_SCALE * learner.affine.log_gain.exp() * sum(parts) / sum(weights)

    def whole(b, c, scale):
        move = moves["whole"][c] if "whole" in moves else nothing
        similarity = dot(features.global_features[b], texts[c] - mean + move)
        return options.GLOBAL_SCALE * scale.log_gain.exp() * similarity

    rows = []
    for b in range(len(features)):
        regions = features.local_features[b]
        if features.mask is not None:
            regions = [r for r, there in zip(regions, features.mask[b], strict=True) if there]
        if options.REGIONS:
            moved = [naive_regions(learner, number, regions) for number in range(2)]
        beta = options.REGION_SCALE if features.mask is None else options.WORD_SCALE
        for c in range(len(texts)):
            if options.REGIONS:
                looks = [look(k, c, *moved, beta) for k in range(options.LOOKS)]
                if options.GLOBAL_SCALE:
                    looks[0] = looks[0] + whole(b, c, learner.global_scale)
                mean_of = sum((-one / options.SOFTNESS).exp() for one in looks) / len(looks)
                z = -options.SOFTNESS * mean_of.log()
            else:
                z = whole(b, c, learner.affine)
            rows.append(z + learner.class_bias[c])
    return torch.stack(rows).view(len(features), -1)


def as_double(features):
    parts = (features.global_features.double(), features.local_features.double())
    return Features(*parts, features.mask)


SWITCHES = {
    "all": {},
    "no regions": {"REGIONS": False},
    "no whole image": {"GLOBAL_SCALE": 0.0},
    "mean negative": {"NEGATIVES": "mean"},
    "no negative": {"NEGATIVES": "off"},
    "no residuals": {"RESIDUALS": False},
    "one look": {"LOOKS": 1},
    "four looks": {"LOOKS": 4, "PULL": 0.0, "SOFTNESS": 1.0},
    "no adapter": {"ADAPTER": 0},
    "other scales": {"LOGIT_SCALE": 7.0, "GLOBAL_SCALE": 3.0, "REGION_SCALE": 5.0, "TAU": 0.0},
}


@pytest.mark.parametrize("switches", SWITCHES)
def test_logits_loss_and_gradients_equal_naive_loops(switches):
    """Of images and of captions, with the log prior in the loss alone."""
    images, captions = random_features(1, 3, 5), random_features(2, 2, 6, masked=True)
    drawn = []

    def texts(numbers):
        drawn.append(numbers)
        return captions, CAPTION_TARGETS

    small = {"ADAPTER": 6, "ADAPTER_DROPOUT": 0.0}  # what is dropped is tested with the adapter
    model = model_of(texts=texts, LAMBDA=0.7, **{**small, **SWITCHES[switches]})
    stir(model.learner)
    text = model.text_features()
    logits = model.logits(images, text)
    batch = Batch(images, text, torch.arange(3), torch.tensor([5, 6, 7]))
    loss = model.loss(logits, TARGETS, batch)["loss"]
    assert torch.equal(drawn[0], batch.sample_seed)

    options, logs = model.options, [math.log(count / 49) for count in (40, 1, 7, 2)]
    shift = [options.TAU * (log - sum(logs) / 4) for log in logs]
    found, learners = [(logits, loss)], [model.learner]
    for its, convert in ((model.learner, lambda x: x), (in_double(model.learner), as_double)):
        z = naive_logits(its, convert(images), options)
        parts = []
        for scores, targets in (
            (z, TARGETS),
            (naive_logits(its, convert(captions), options), CAPTION_TARGETS),
        ):
            shifted = scores + torch.tensor(shift, dtype=z.dtype)
            parts.append(naive.reduced(naive.bce(shifted, targets), "mean"))
        held = [*its.residuals.values()]
        held += [adapter.narrow.weight for adapter in getattr(its, "adapters", ())]
        pull = options.PULL / 2 * sum(d.square().sum() for d in held) / (49 * len(NAMES))
        found.append((z, parts[0] + 0.7 * parts[1] + pull))
        learners.append(its)
    gradients = [
        torch.autograd.grad(value, [*its.parameters()], retain_graph=True)
        for its, (_, value) in zip(learners, found, strict=True)
    ]
    for values in (*zip(*found, strict=True), *zip(*gradients, strict=True)):
        assert_as_exact(*values)


@pytest.mark.parametrize("tower", TOWERS)
def test_before_training_it_is_its_zero_shot_scorer(tower):
    """20 x regions weighed by softmax(20 f t), scored by f (t - m), + 5 x g (t - m) - 4."""
    model = model_of(tower, LOOKS=1)
    clip_model = model.clip.clip_model
    texts = clip_model.encode_text(tokenize([f"a photo of a {name}." for name in NAMES]))
    texts = texts / texts.norm(dim=-1, keepdim=True)
    images = random_features(3, 4, 6)
    centred, fits = texts - texts.mean(dim=0), images.local_features @ texts.t()
    regions = ((20 * fits).softmax(dim=1) * (images.local_features @ centred.t())).sum(dim=1)
    expected = 20 * regions + 5 * images.global_features @ centred.t() - 4
    found = model.logits(images, model.text_features())
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.fixture
def build(roots, tmp_path):
    def build(*more, root=None, tower="ViT"):
        keys = ("TRAINER.LOSS.NAME", "bce", "OPTIM.NAME", "adamw", "OPTIM.LR", "1e-2")
        words = [str(word) for word in (*keys, *more)]
        return built(arguments(root or roots[tower], "TARP", tmp_path / "out", *words, tower=tower))

    return build


@pytest.mark.parametrize(
    "changes",
    [
        (),
        ("REGIONS", False),
        ("GLOBAL_SCALE", 0.0, "NEGATIVES", "off"),
        ("RESIDUALS", False, "ADAPTER", 6),
        ("LAMBDA", 1.0, "LOOKS", 1, "ADAPTER", 6),
        ("CLASS_BIAS_LEARNABLE", False, "LOGIT_SCALE_LEARNABLE", False, "PREC", "bf16"),
        ("NEGATIVES", "mean", "TEMPLATES", "ours"),
    ],
)
def test_every_switch_trains_all_that_it_leaves(changes, build):
    keys = [f"TRAINER.TARP.{x}" if i % 2 == 0 else x for i, x in enumerate(changes)]
    trainer = build(*keys, "OPTIM.MAX_EPOCH", 2)
    start = {name: p.detach().clone() for name, p in trainer.model.learner.named_parameters()}
    trainer.train()
    for name, parameter in trainer.model.learner.named_parameters():
        assert torch.isfinite(parameter).all()
        assert torch.equal(parameter, start[name]) == (not parameter.requires_grad), name


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_the_pull_is_set_against_the_known_labels(build, share):
    """It is that of PULL / 2 x squares beside a sum of losses over the labels that are known."""
    trainer = build(
        "TRAINER.TARP.PULL", 3.0, "TRAINER.TARP.ADAPTER", 6, "DATASET.LABEL_PROPORTION", share
    )
    learner = trainer.model.learner
    stir(learner)
    batch = next(iter(trainer.train_loader_x))
    inputs = (*trainer.parse_batch_train(batch), *trainer.data.batch_places(batch))
    terms = trainer.model.terms(*inputs)
    held = [*learner.residuals.values(), *(a.narrow.weight for a in learner.adapters)]
    squares = sum(d.square().sum().item() for d in held)
    known = sum(int(label >= 0) for row in trainer.data.targets for label in row)
    assert (known == len(trainer.data.targets) * len(trainer.classnames)) == (share == 1)
    found = (terms["loss"] - terms["loss_images"]).item()
    assert found == pytest.approx(1.5 * squares / known, rel=1e-3)


def test_captions_are_those_of_the_data_set(build, roots, capsys):
    trainer = build("DATASET.TEXT_TEMPLATES", "1", "TRAINER.TARP.LAMBDA", 1.0)
    assert "Training on texts beside images: 21 sentences" in capsys.readouterr().out
    features, targets = trainer.model.texts(torch.arange(1000))
    assert features.mask.shape[0] == len(targets) == 1000
    own = targets[:21]  # the captions name all classes of their images; templates follow
    assert torch.equal(own, trainer.data.targets) and (targets[21:60].sum(dim=1) == 1).all()
    assert build().model.texts is None


def test_a_set_without_captions_is_trained_on_images_alone(roots, tmp_path, build):
    root = shutil.copytree(roots["ViT"], tmp_path / "bare")
    (root / "mine" / "captions.txt").unlink()
    trainer = build("OPTIM.MAX_EPOCH", "1", "TRAINER.TARP.LAMBDA", 1.0, root=root)
    assert trainer.model.texts is None
    trainer.train()
    assert results(tmp_path / "out")["epoch"] == 1


def test_captions_that_name_no_class_tell_how_to_do_without(roots, tmp_path, build):
    root = shutil.copytree(roots["ViT"], tmp_path / "other")
    (root / "mine" / "captions.txt").write_text("pictures/train0.png the weather\n")
    with pytest.raises(ValueError, match=r"names a class.*Or do without: TRAINER.TARP.LAMBDA 0"):
        build("TRAINER.TARP.LAMBDA", 1.0, root=root)
    assert build(root=root).model.texts is None


def test_captions_alone_can_be_trained_on(build, tmp_path):
    trainer = build("DATASET.TEXT_AS_IMAGE", True, "OPTIM.MAX_EPOCH", "1")
    assert trainer.model.texts is None  # beside captions there are no others
    trainer.train()
    assert results(tmp_path / "out")["epoch"] == 1


def test_the_prior_is_of_the_training_images_and_of_training_alone(build):
    trainer = build("TRAINER.TARP.TAU", "1.0")
    counts = trainer.data.targets.eq(1).sum(dim=0).double()
    shares = (counts / len(trainer.data.targets)).log()
    expected = shares - shares.mean()
    torch.testing.assert_close(trainer.model.shift.double(), expected, atol=1e-5, rtol=0)
    views, _ = trainer.parse_batch_train(next(iter(trainer.train_loader_x)))
    without = build("TRAINER.TARP.TAU", "0.0")
    text = trainer.model.text_features()
    torch.testing.assert_close(trainer.model_inference(views), without.model.logits(views, text))


def test_what_makes_no_sense_is_refused(build):
    node = "TRAINER.TARP"
    with pytest.raises(ValueError, match="REGIONS False and GLOBAL_SCALE 0 leave nothing"):
        build(f"{node}.REGIONS", False, f"{node}.GLOBAL_SCALE", 0.0)
    off = ("RESIDUALS", "LOGIT_SCALE_LEARNABLE", "CLASS_BIAS_LEARNABLE")
    off = [word for key in off for word in (f"{node}.{key}", False)]
    for more in (("ADAPTER", 0), ("REGIONS", False, f"{node}.ADAPTER", 6)):
        with pytest.raises(ValueError, match="would train nothing; set one of TRAINER.TARP.RES"):
            build(*off, f"{node}.{more[0]}", *more[1:])
    learner = build(*off, f"{node}.ADAPTER", 6).model.learner
    assert {n.split(".")[0] for n, p in learner.named_parameters() if p.requires_grad} == {
        "adapters"
    }
    with pytest.raises(ValueError, match="NEGATIVES must be one of .*got 'learned'.*'learnt'"):
        build(f"{node}.NEGATIVES", "learned")
    with pytest.raises(ValueError, match="takes TEMPLATES or DESCRIPTIONS, got both"):
        build(f"{node}.TEMPLATES", "ours", f"{node}.DESCRIPTIONS", "x.json")
    with pytest.raises(ValueError, match="SOFTNESS must be above 0, got 0"):
        build(f"{node}.SOFTNESS", 0.0)
    for key in ("TAU", "LAMBDA", "GLOBAL_SCALE", "WORD_SCALE", "PULL"):
        with pytest.raises(ValueError, match=f"{key} must be 0 or more, got -1"):
            build(f"{node}.{key}", -1.0)


def test_regions_are_asked_for_where_they_are_looked_at():
    clip = FrozenClip(random_clip("ViT"))
    with pytest.raises(ValueError, match="looks at regions and this CLIP reads none"):
        TARPModel(NAMES, clip)
    assert isinstance(TARPModel(NAMES, clip, REGIONS=False).learner, nn.Module)
