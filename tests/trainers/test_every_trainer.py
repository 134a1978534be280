"""What every trainer promises, whatever its method: to resume, to be evaluated alone, to repeat."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor

import train
from tests.helpers.sets.small_set import arguments, results, write_set
from trainers.base import PromptTrainer

ROOT = Path(__file__).resolve().parents[2]

# What brings most of a method's state into its checkpoint; options beside those of the small set.
OPTIONS = {
    "CPRFL": ("OPTIM.NAME", "adamw", "TRAINER.CPRFL.WIDTH", "32", "TRAINER.CPRFL.DROPOUT", "0.5")
    + ("TRAINER.CPRFL.HEAD_WIDTH", "8"),
    "CoCoOp": ("TRAINER.COCOOP.CHUNK", "3", "TRAINER.COCOOP.COSINE_OFFSET", "learnt"),
    "CoOp": ("TRAINER.COOP.COSINE_OFFSET", "learnt", "TRAINER.COOP.REGION_WEIGHT", "0.5"),
    "DualCoOp": ("TRAINER.DUALCOOP.REGION_SCALE_LEARNABLE", "True"),
    "DualCoOpPP": (),
    "FinetuneCLIP": ("OPTIM.NAME", "adamw", "OPTIM.LR", "1e-3"),
    "LMCLIP": ("OPTIM.NAME", "adamw", "OPTIM.LR", "1e-3", "TRAINER.SAMPLER", "balanced"),
    "LMPT": ("TRAINER.LMPT.LOGIT_SCALE_LEARNABLE", "True"),
    "LinearProbe": ("OPTIM.NAME", "adamw"),
    "PVLR": ("OPTIM.NAME", "adamw", "OPTIM.LR", "1e-3", "TRAINER.PVLR.COSINE_OFFSET", "learnt")
    + ("TRAINER.PVLR.REGION_SCALE_LEARNABLE", "True"),
    "TARP": ("OPTIM.NAME", "adamw", "TRAINER.TARP.ADAPTER", "6"),
    "TaIDPT": ("DATASET.TEXT_AS_IMAGE", "True", "TRAINER.LOSS.NAME", "ranking"),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_set(root)
    return root


@pytest.fixture(scope="module")
def bare(root, tmp_path_factory):
    """That root without what only training looks at."""
    bare = shutil.copytree(root, tmp_path_factory.mktemp("bare") / "data")
    for path in (bare / "mine" / "pictures").glob("train*"):
        path.unlink()
    (bare / "mine" / "captions.txt").unlink()
    return bare


def run(root: Path, trainer: str, output: Path, *more: str) -> None:
    options = ("TRAINER.LOSS.NAME", "asl", "OPTIM.MAX_EPOCH", "2", *OPTIONS[trainer], *more)
    train.main(arguments(root, trainer, output, *options))


def newest(output: Path) -> dict[str, Tensor]:
    """The state dict of a run's newest checkpoint, and its optimiser's numbers."""
    (pointer,) = output.glob("*/checkpoint")
    content = torch.load(pointer.with_name(pointer.read_text().strip()), weights_only=True)
    moments = content["optimizer"]["state"]
    numbers = {f"{row}.{name}": v for row, own in moments.items() for name, v in own.items()}
    return {**content["state_dict"], **{n: v for n, v in numbers.items() if v is not None}}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_no_trainer_is_left_out():
    ours = {
        name
        for name in TRAINER_REGISTRY.registered_names()
        if TRAINER_REGISTRY.get(name).__module__.startswith("trainers.")
    }
    assert ours == {*OPTIONS, "ZeroshotCLIP"}


@pytest.mark.parametrize("trainer", OPTIONS)
def test_resumed_equals_uninterrupted_and_the_folder_alone_repeats_it(
    trainer, root, bare, tmp_path, monkeypatch
):
    whole, halved, alone = (tmp_path / name for name in ("whole", "halved", "alone"))
    run(root, trainer, whole)
    after_epoch = PromptTrainer.after_epoch

    def killed_after_one_epoch(self):
        after_epoch(self)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PromptTrainer, "after_epoch", killed_after_one_epoch)
        with pytest.raises(SystemExit):
            run(root, trainer, halved)
    half_way = newest(halved)
    run(root, trainer, halved)
    assert same(newest(whole), newest(halved)) and not same(half_way, newest(halved))
    assert results(whole)["metrics"] == results(halved)["metrics"]
    words = ["--eval-only", "--model-dir", str(whole), "--output-dir", str(alone)]
    train.main([*words, "--root", str(bare)])
    assert results(alone)["metrics"] == results(whole)["metrics"]
    assert results(alone)["epoch"] == 2


def test_every_trainer_has_a_recipe_for_every_backbone_and_data_set():
    for trainer in (*OPTIONS, "ZeroshotCLIP"):
        for name, backbone in (("tiny", "tiny"), ("rn50", "RN50"), ("vit_b16", "ViT-B/16")):
            words = ["--backbone", name, "--trainer", trainer]
            for dataset in sorted((ROOT / "configs" / "datasets").glob("*.yaml")):
                more = ["--dataset-config-file", str(dataset)]
                cfg = train.build_cfg(train.build_parser().parse_args([*words, *more]))
                assert cfg.MODEL.BACKBONE.NAME == backbone
                assert cfg.OPTIM.NAME in ("sgd", "adam", "adamw") or trainer == "ZeroshotCLIP"
