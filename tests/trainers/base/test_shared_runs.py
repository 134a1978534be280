"""Runs of one process share what they load; each must end as it would alone."""

from __future__ import annotations

import pytest

from common import shared as module
from common.shared import begin_shared_run
from tests.helpers.models.small_trainer import build, write_calm_set

METHODS = ("CoOp", "LMPT", "FinetuneCLIP", "DualCoOp", "CoOp")
TUNED = ("TRAINER.TUNE.NAME", "lora", "OPTIM.NAME", "adamw", "OPTIM.LR", 1e-2)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(module, "_kept", {})
    monkeypatch.setattr(module, "_asked", set())
    monkeypatch.setattr(module, "_sharing", False)


@pytest.fixture
def train(tmp_path):
    write_calm_set(tmp_path)

    def train(folder, name, *words):
        """The metric after an epoch, the CLIP it was trained with, and its digest."""
        words = ("OPTIM.MAX_EPOCH", 1, *words)
        trainer = build(tmp_path, name, tmp_path / folder, *words)
        trainer.train()
        return trainer.test(), trainer.clip.clip_model, trainer.clip_digest

    return train


def test_each_run_ends_as_it_would_alone(train):
    runs = [(name, ()) for name in METHODS]
    runs.insert(1, ("CoOp", TUNED))
    runs.insert(3, ("CoOp", (*TUNED, "TRAINER.TUNE.TOWER", "text")))
    alone = [train(f"alone{i}", name, *words) for i, (name, words) in enumerate(runs)]
    together = []
    for i, (name, words) in enumerate(runs):
        begin_shared_run()
        together.append(train(f"together{i}", name, *words))
    for (metric, _, digest), (shared_metric, _, shared_digest) in zip(alone, together, strict=True):
        assert shared_metric == pytest.approx(metric, abs=1e-3)
        assert shared_digest == digest
    clips = [clip for _, clip, _ in together]
    assert clips[-1] is clips[-2]  # two frozen ones, one after the other
    assert len(set(map(id, clips))) == len(clips) - 1
