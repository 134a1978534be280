"""Every key that we declare is read somewhere: an option nobody reads is a lie."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from dassl.config import get_cfg_default

import train
from configuration import flatten
from losses import LOSSES, loss_options
from losses.config import node_options

ROOT = Path(__file__).resolve().parents[1]
FOR_OTHERS = {"DATASET.SUBSAMPLE_CLASSES"}  # data set files written for CoOp read it
SOURCES = [
    path for top in ("datasets", "evaluation", "trainers") for path in (ROOT / top).rglob("*.py")
]


def declared() -> set[str]:
    ours = dict(flatten(train.build_cfg(train.build_parser().parse_args([]))))
    return set(ours) - set(dict(flatten(get_cfg_default()))) - FOR_OTHERS


def test_every_key_is_read():
    text = "\n".join(path.read_text() for path in SOURCES)
    keys = {key for key in declared() if not re.match(r"TRAINER\.LOSS\.\w+\.", key)}
    assert len(keys) > 20
    for key in keys:
        name = key.rpartition(".")[2]
        reads = re.findall(rf"\.{name}\b(?! =)|get\(\"{name}\"", text)
        assert reads, f"{key} is declared and never read"


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_takes_the_options_of_its_node(loss):
    cfg = train.build_cfg(train.build_parser().parse_args([]))
    options = set(node_options(cfg.TRAINER.LOSS, loss))
    assert options <= set(loss_options(loss))


def test_every_config_file_fits():
    files = sorted((ROOT / "configs").rglob("*.yaml"))
    assert len(files) >= 7
    for path in files:
        train.build_cfg(train.build_parser().parse_args(["--config-file", str(path)]))
