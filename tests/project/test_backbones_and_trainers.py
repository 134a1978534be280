"""Every method trains on every kind of backbone: the table in docs/backbones.md."""

from __future__ import annotations

import pytest
import torch

from tests.helpers.models.small_towers import KINDS
from tests.helpers.models.small_trainer import built
from tests.helpers.sets.small_set import arguments, results, write_set

OPENAI = "openai"
TRAINERS: dict[str, dict[str, str]] = {  # name to what it needs here
    "CoOp": {"TRAINER.COOP.N_CTX": "3", "TRAINER.COOP.COSINE_OFFSET": "learnt"},
    "LMPT": {"TRAINER.LMPT.N_CTX": "3"},
    "DualCoOp": {"TRAINER.DUALCOOP.N_CTX": "3"},
    "TaIDPT": {"TRAINER.TAIDPT.N_CTX": "3", "DATASET.TEXT_AS_IMAGE": "True"},
    "PVLR": {},
    "CPRFL": {"TRAINER.CPRFL.WIDTH": "32", "TRAINER.CPRFL.HEAD_WIDTH": "8"},
    "LMCLIP": {},
    "TARP": {},
    "ZeroshotCLIP": {},
    "LinearProbe": {},
}
VIT = {"eva": "last"}  # the one way in which its regions can be read


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    write_set(folder)
    return folder


def trainer_on(kind, name, root, small_towers, output):
    keys = {
        **TRAINERS[name],
        "MODEL.DENSE.VIT": VIT.get(kind, "value"),
        "OPTIM.MAX_EPOCH": "1",
        "OPTIM.WARMUP_EPOCH": "0",
        "DATALOADER.CACHE_DIR": str(root / "cache"),
    }
    if kind != OPENAI:  # else the clip.pt of the set
        keys["MODEL.BACKBONE.NAME"] = str(small_towers.folder(kind))
    return built(arguments(root, name, output, *(word for pair in keys.items() for word in pair)))


@pytest.mark.parametrize("name", TRAINERS)
@pytest.mark.parametrize("kind", [OPENAI, *KINDS])
def test_it_trains(kind, name, root, small_towers, tmp_path):
    trainer = trainer_on(kind, name, root, small_towers, tmp_path)
    learner = trainer.model.learner
    before = [] if learner is None else [p.detach().clone() for p in learner.parameters()]
    trainer.train()
    assert 0 < results(tmp_path)["metrics"]["mAP"] <= 100
    assert bool(before) == (name != "ZeroshotCLIP")
    assert all(torch.isfinite(p).all() for p in learner.parameters()) if before else True
    if before:
        after = learner.parameters()
        assert any(not torch.equal(p, old) for p, old in zip(after, before, strict=True))


@pytest.mark.parametrize("kind", ["siglip", "hf_siglip"])
def test_siglips_bias_is_the_offset_of_zero_shot_logits_and_the_start_of_a_learnt_one(
    kind, root, small_towers, tmp_path
):
    model = small_towers.model(kind)
    for name in ("ZeroshotCLIP", "CoOp"):
        trainer = trainer_on(kind, name, root, small_towers, tmp_path / name)
        trainer.set_offset()
        features = next(iter(trainer.data.first_features()))
        text = trainer.model.text_features()
        cosines = features.global_features @ text.t()
        with torch.no_grad():
            expected = model.logit_scale.exp() * cosines + model.logit_bias
            found = trainer.model.logits(features, text)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)


def test_of_other_librarys_towers_the_text_tower_alone_is_tuned_in_part(
    root, small_towers, tmp_path
):
    words = ("TRAINER.TUNE.NAME", "lora", "OPTIM.MAX_EPOCH", "1", "OPTIM.WARMUP_EPOCH", "0")
    words += ("MODEL.BACKBONE.NAME", str(small_towers.folder("siglip")))
    with pytest.raises(ValueError, match="for CLIP's own image towers.*TOWER text.*FinetuneCLIP"):
        built(arguments(root, "CoOp", tmp_path, *words))
    trainer = built(arguments(root, "CoOp", tmp_path, *words, "TRAINER.TUNE.TOWER", "text"))
    part = trainer.model.learner.get_submodule("textual")
    before = [parameter.detach().clone() for parameter in part.parameters()]
    trainer.train()
    changed = [not torch.equal(p, old) for p, old in zip(part.parameters(), before, strict=True)]
    assert sum(changed) >= len(changed) / 2 > 0
