"""Evaluation of a split without a trainer, a model or a data set."""

from __future__ import annotations

import pytest
import torch
from dassl.evaluation import EvaluatorBase

from modeling.encoders.features import Features
from trainers.base.split_evaluation import SplitEvaluation

WEIGHT = torch.tensor([[1.0, 0.0], [0.5, -1.0], [0.0, 2.0]], requires_grad=True)  # [D, C]


class Recorder(EvaluatorBase):
    """Counts correct signs, and remembers what it was given."""

    def __init__(self):
        self.events = []

    def reset(self):
        self.events.append("reset")
        self.right = self.total = 0

    def process(self, mo, gt):
        self.events.append("process")
        assert not mo.requires_grad
        self.right += int(((mo > 0) == (gt > 0)).sum())
        self.total += gt.numel()

    def evaluate(self):
        self.events.append("evaluate")
        return {"share": 100.0 * self.right / self.total, "images": self.total / 2}


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(0)
    return [
        {"features": torch.randn(size, 3, generator=generator), "label": torch.ones(size, 2)}
        for size in (4, 4, 1)
    ]


@pytest.fixture
def evaluation():
    return SplitEvaluation(
        infer=lambda features: features.global_features @ WEIGHT,
        labels=lambda batch: (Features(batch["features"]), batch["label"]),
        targets=lambda batch: (Features(batch["features"]), batch["label"] - 1),
        evaluator=Recorder(),
    )


def test_every_batch_counts_once(evaluation, batches, capsys):
    logits = torch.cat([batch["features"] for batch in batches]) @ WEIGHT.detach()
    share = 100.0 * float((logits > 0).float().mean())
    for _ in range(2):  # the second evaluation knows nothing of the first
        assert evaluation.run("val", batches) == pytest.approx({"share": share, "images": 9})
    assert evaluation.evaluator.events == [*("reset", *["process"] * 3, "evaluate")] * 2
    assert capsys.readouterr().out == "Evaluate on the *val* set\n" * 2


def test_scores_are_those_of_the_batches_beside_their_targets(evaluation, batches):
    scored = list(evaluation.scores(batches))
    assert torch.is_grad_enabled()
    for (logits, targets), batch in zip(scored, batches, strict=True):
        assert not logits.requires_grad
        torch.testing.assert_close(logits, batch["features"] @ WEIGHT.detach())
        assert torch.equal(targets, torch.zeros_like(batch["label"]))
    assert not evaluation.evaluator.events
