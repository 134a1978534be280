from __future__ import annotations

import pytest
import torch

from loading.cache.feature_cache import CachedLoader
from tests.helpers.models.small_trainer import build, first_step, write_calm_set
from tests.helpers.runs.tuned_towers import FITTING, KINDS, TEXT_KINDS
from tests.helpers.sets.small_set import results

TEXT = ("TRAINER.TUNE.TOWER", "text")
BOTH = ("TRAINER.TUNE.TOWER", "both")
QUICK = ("OPTIM.NAME", "adamw", "OPTIM.LR", 1e-3, "OPTIM.WARMUP_EPOCH", 0)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folders = {tower: tmp_path_factory.mktemp(tower) for tower in ("ViT", "RN")}
    for tower, folder in folders.items():
        write_calm_set(folder, tower)
    return folders


@pytest.fixture
def make(sets, tmp_path):
    def make(kind, *more, name="CoOp", tower="ViT", output="out"):
        words = ("TRAINER.TUNE.NAME", kind, *QUICK, *more)
        return build(sets[tower], name, tmp_path / output, *words, tower=tower)

    return make


def checkpoint(folder, epoch):
    path = folder / "prompt_learner" / f"model.pth.tar-{epoch}"
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize(("kind", "tower"), FITTING)
def test_an_epoch_trains_contexts_and_what_is_tuned_alone(kind, tower, make, tmp_path):
    trainer = make(kind, "OPTIM.MAX_EPOCH", 1, tower=tower)
    clip, learner = trainer.clip.clip_model, trainer.model.learner
    ours = {id(parameter) for parameter in learner.parameters()}
    frozen = {n: p.clone() for n, p in clip.named_parameters() if id(p) not in ours}
    start = {name: value.clone() for name, value in learner.state_dict().items()}
    trainer.train()
    now = dict(clip.named_parameters())
    assert all(torch.equal(value, now[name]) for name, value in frozen.items())
    assert not torch.equal(start["ctx"], learner.ctx)
    tuned = {name: value for name, value in start.items() if name.startswith("visual.")}
    assert any(not torch.equal(value, learner.state_dict()[n]) for n, value in tuned.items())
    saved = checkpoint(tmp_path / "out", 1)["state_dict"]
    assert set(saved) == {"ctx", *tuned}
    assert {value.dtype for value in saved.values()} == {torch.float32}
    again = make(kind, output="again", tower=tower)
    again.load_model(str(tmp_path / "out"))
    assert again.test() == pytest.approx(trainer.test())


@pytest.mark.parametrize("kind", TEXT_KINDS)
def test_a_text_tower_is_tuned_on_features_of_images_that_are_kept(kind, make, tmp_path):
    trainer = make(kind, *TEXT, "OPTIM.MAX_EPOCH", 1)
    assert isinstance(trainer.train_loader_x, CachedLoader)
    clip, learner = trainer.clip.clip_model, trainer.model.learner
    ours = {id(parameter) for parameter in learner.parameters()}
    frozen = {n: p.clone() for n, p in clip.named_parameters() if id(p) not in ours}
    start = {name: value.clone() for name, value in learner.state_dict().items()}
    trainer.train()
    now = dict(clip.named_parameters())
    assert all(torch.equal(value, now[name]) for name, value in frozen.items())
    saved = checkpoint(tmp_path / "out", 1)["state_dict"]
    assert set(saved) == set(start)
    changed = {name for name, value in saved.items() if not torch.equal(value, start[name])}
    assert {name.partition(".")[0] for name in changed} == {"ctx", "textual"}
    again = make(kind, *TEXT, output="again")
    again.load_model(str(tmp_path / "out"))
    assert again.test() == pytest.approx(trainer.test())


@pytest.mark.parametrize("name", ["LMPT", "CoCoOp", "DualCoOp"])
def test_both_towers_are_tuned_with_any_contexts(name, make):
    trainer = make("bias", *BOTH, name=name)
    first_step(trainer)[3].backward()
    for part in ("visual", "textual"):
        # None of parts that a loss on regions, or on end tokens alone, does not read.
        gradients = [p.grad for p in trainer.model.learner.get_submodule(part).parameters()]
        assert any(gradient is not None and bool(gradient.any()) for gradient in gradients)
    contexts, towers = trainer.optim.param_groups
    every = sum(len(group["params"]) for group in (contexts, towers))
    assert every == len(list(trainer.model.learner.parameters()))


@pytest.mark.parametrize(("kind", "precision"), [("lora", "fp32"), ("vpt", "amp")])
def test_recomputed_blocks_train_as_kept_ones_do(kind, precision, make, tmp_path):
    for output in ("True", "False"):
        words = ("OPTIM.MAX_EPOCH", 1, "TRAIN.RECOMPUTE", output, "TRAINER.COOP.PREC", precision)
        make(kind, *words, output=output).train()
    kept, recomputed = (checkpoint(tmp_path / name, 1)["state_dict"] for name in ("False", "True"))
    for name, value in kept.items():
        assert torch.allclose(value, recomputed[name], atol=1e-6), name


@pytest.mark.parametrize(
    ("kind", "towers"), [*((kind, ()) for kind in KINDS), *((kind, BOTH) for kind in TEXT_KINDS)]
)
def test_before_the_first_step_loss_and_scores_are_those_of_frozen_towers(kind, towers, make):
    tuned, frozen = make(kind, *towers, output=kind), make("none", output="none")
    losses = [float(first_step(trainer)[3].detach()) for trainer in (tuned, frozen)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert tuned.test() == pytest.approx(frozen.test())


def test_lmpt_tunes_the_tower_by_its_whole_loss(make, tmp_path):
    trainer = make("lora", "OPTIM.MAX_EPOCH", 1, name="LMPT")
    change = trainer.model.learner.visual.get_submodule("transformer.resblocks.0.mlp.c_fc.weight")
    assert not change.up.any()
    trainer.train()
    assert bool(change.up.any())
    assert results(tmp_path / "out")["epoch"] == 1


def test_regions_are_tuned_too(make):
    trainer = make("vpt", name="DualCoOp")
    first_step(trainer)[3].backward()
    assert bool(trainer.model.learner.visual.gates.grad.any())


def test_what_is_tuned_learns_at_a_rate_of_its_own(make):
    trainer = make("norm", "TRAINER.TUNE.LR_MULT", 0.1)
    contexts, tower = trainer.optim.param_groups
    assert [id(p) for p in contexts["params"]] == [id(trainer.model.learner.ctx)]
    expected = {id(p) for p in trainer.model.learner.visual.parameters()}
    assert {id(p) for p in tower["params"]} == expected
    assert (contexts["lr"], tower["lr"]) == pytest.approx((1e-3, 1e-4))


@pytest.mark.parametrize(
    ("kind", "towers"),
    [("lora", ()), ("vpt", ()), ("last_blocks", ()), ("norm", TEXT), ("lora", BOTH)],
)
def test_a_resumed_run_equals_an_uninterrupted_one(kind, towers, make, tmp_path):
    words = ("OPTIM.MAX_EPOCH", 3, *towers)
    make(kind, *words, output="whole").train()
    trainer = make(kind, *words, output="parts")
    trainer.max_epoch = 1  # as if killed after it, under the schedule of 3
    trainer.train()
    resumed = make(kind, *words, "RESUME", tmp_path / "parts", output="parts")
    resumed.train()
    whole, parts = (checkpoint(tmp_path / name, 3) for name in ("whole", "parts"))
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, parts["state_dict"][name]), name


@pytest.mark.parametrize("towers", [(), BOTH])
def test_tuning_starts_from_contexts_of_frozen_towers(towers, make, tmp_path):
    make("none", "OPTIM.MAX_EPOCH", 1).train()
    start = tmp_path / "out" / "prompt_learner" / "model.pth.tar-1"
    trainer = make("lora", *towers, "MODEL.INIT_WEIGHTS", start, output="second")
    learnt = checkpoint(tmp_path / "out", 1)["state_dict"]["ctx"]
    assert torch.equal(trainer.model.learner.ctx, learnt)


def test_the_digest_is_that_of_the_clip_that_was_loaded(make):
    digests = {make(kind, output=kind).clip_digest for kind in ("none", "lora", "vpt")}
    assert len(digests) == 1


@pytest.mark.parametrize("towers", [(), TEXT])
def test_amp_trains_fp32_weights(towers, make):
    trainer = make("lora", *towers, "OPTIM.MAX_EPOCH", 1, "TRAINER.COOP.PREC", "amp")
    trainer.train()
    for parameter in trainer.model.learner.parameters():
        assert parameter.dtype is torch.float32
        assert bool(torch.isfinite(parameter).all())


REFUSED = {
    "CoOp": {
        "typo": ("lorra", (), "TRAINER.TUNE.NAME must be one of .*Did you mean 'lora'"),
        "key of another kind": ("vpt", ("TRAINER.TUNE.RANK", 8), "RANK 8 does nothing with .* vpt"),
        "key of none": ("none", ("TRAINER.TUNE.LR_MULT", 2.0), "LR_MULT 2.0 does nothing with"),
        "rank": ("lora", ("TRAINER.TUNE.RANK", 0), "RANK must be 1 or more, got 0"),
        "half": ("norm", ("TRAINER.COOP.PREC", "fp16"), "set TRAINER.COOP.PREC fp32 or amp"),
        "prompts of texts": ("vpt", TEXT, "vpt is for images.*TOWER image"),
        "tower of none": ("none", TEXT, "TOWER text does nothing with TRAINER.TUNE.NAME none"),
        "tower": ("lora", ("TRAINER.TUNE.TOWER", "txt"), "Did you mean 'text'"),
        "frozen": ("none", ("TRAIN.RECOMPUTE", True), "RECOMPUTE does nothing where"),
        "cache": ("norm", ("DATALOADER.CACHE", "features"), "CACHE features would change"),
    },
    "FinetuneCLIP": {"whole tower": ("lora", (), "FinetuneCLIP trains the whole image tower")},
    "ZeroshotCLIP": {"nothing": ("lora", (), "ZeroshotCLIP trains nothing; set TRAINER.TUNE")},
    "TaIDPT": {
        "texts": ("lora", ("DATASET.TEXT_AS_IMAGE", True), "captions hold no images"),
        "their tower": ("lora", (*TEXT, "DATASET.TEXT_AS_IMAGE", True), "encoded once"),
    },
    "LinearProbe": {"no texts": ("lora", TEXT, "LinearProbe learns no contexts")},
    "PVLR": {"names alone": ("lora", TEXT, "PVLR learns no contexts with these options")},
}


@pytest.mark.parametrize(
    ("name", "case"), [(name, case) for name, cases in REFUSED.items() for case in cases]
)
def test_what_would_do_nothing_or_fail_is_refused(name, case, make):
    kind, words, message = REFUSED[name][case]
    with pytest.raises(ValueError, match=message):
        make(kind, *words, name=name)
