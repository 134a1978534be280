"""Every key that we declare is read somewhere: an option nobody reads is a lie."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY

import train
from configuration import flatten
from losses import LOSSES, loss_options
from losses.config import node_options
from tests.helpers.config_reads import METHOD, keys_read

ROOT = Path(__file__).resolve().parents[2]
FOR_OTHERS = {"DATASET.SUBSAMPLE_CLASSES"}  # data set files written for CoOp read it
SOURCES = [
    path
    for top in ("datasets", "evaluation", "loading", "losses", "modeling", "trainers")
    for path in (ROOT / top).rglob("*.py")
]


def declared() -> set[str]:
    ours = dict(flatten(train.build_cfg(train.build_parser().parse_args([]))))
    return set(ours) - set(dict(flatten(get_cfg_default()))) - FOR_OTHERS


def methods() -> dict[str, type]:
    """Trainers by the name of their node below TRAINER."""
    return {
        name.upper(): TRAINER_REGISTRY.get(name) for name in TRAINER_REGISTRY.registered_names()
    }


def test_every_key_is_read():
    reads, keys = keys_read(SOURCES), declared()
    keys = {key for key in keys if not re.match(r"TRAINER\.LOSS\.\w+\.", key)}
    assert len(keys) > 20
    everywhere, trainers = set().union(*reads.values()), methods()
    for key in sorted(keys):
        top, method, name = (*key.split(".", 2), "", "")[:3]
        if top == "TRAINER" and method in trainers:  # read by the trainer, or what it builds on
            bases = (*trainers[method].__mro__, *trainers[method].model_class.__mro__)
            own = set().union(*(reads.get(base.__name__, ()) for base in bases))
            assert f"{METHOD}.{name}" in own, f"{key} is declared and {method} never reads it"
        else:
            assert key in everywhere, f"{key} is declared and never read"


def test_reads_are_followed_through_names_and_arguments(tmp_path):
    path = tmp_path / "file.py"
    path.write_text(SOURCE)
    assert keys_read([path]) == {
        "": {"INPUT", "INPUT.SIZE", "INPUT.PLACE"},
        "Method": {
            "INPUT",
            "INPUT.PLACE",
            "method_cfg",
            "method_cfg.N_CTX",
            "method_cfg.CSC",
            "TEST",
            "TEST.SPLIT",
        },
    }


SOURCE = """
def extend_cfg(cfg):
    cfg.INPUT.NEVER = 1  # declared, not read

def read(options, place):
    return options.SIZE, place

class Method:
    def run(self):
        inputs, cfg = self.cfg.INPUT, self.cfg
        read(inputs, place=inputs.PLACE)
        self.text = "TEST.SCORE"
        return self.method_cfg.N_CTX, self.method_cfg.get("CSC", False), cfg.TEST.SPLIT
"""


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_takes_the_options_of_its_node(loss):
    cfg = train.build_cfg(train.build_parser().parse_args([]))
    options = set(node_options(cfg.TRAINER.LOSS, loss))
    assert options <= set(loss_options(loss))


def test_every_config_file_fits():
    files = set((ROOT / "configs").rglob("*.yaml")) - set((ROOT / "configs/sweeps").iterdir())
    assert len(files) >= 7
    for path in sorted(files):
        train.build_cfg(train.build_parser().parse_args(["--config-file", str(path)]))
