"""Scores read in pieces: the same figures as whole matrices give."""

from __future__ import annotations

import pytest
import torch

from evaluation.metrics import average_precision as whole
from evaluation.metrics import scored_images
from evaluation.metrics.output_link import Link
from evaluation.metrics.scored_images import ScoredImages
from evaluation.results.saved_scores import rank_scores
from tests.helpers.naive.naive_metrics import naive_average_precision


@pytest.fixture(params=[7, 64, 1 << 18])
def pieces(request, monkeypatch):
    """How many entries are worked on at once: less than an image's, a few, all."""
    for module in (whole, scored_images):
        monkeypatch.setattr(module, "ENTRIES", request.param)


def split(n=45, c=9, seed=0):
    """Rounded logits, many of which tie, and targets with unknown ones and an empty class."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(-1, 2, (n, c), generator=generator)
    targets[:, 4] = targets[:, 4].clamp(max=0)
    return (4 * torch.randn(n, c, generator=generator)).round(), targets


def kept(logits, targets, batch=10):
    return ScoredImages(zip(logits.split(batch), targets.split(batch), strict=True))


@pytest.mark.parametrize("space", ["logit", "softmax", "softmax_link"])
def test_average_precision_equals_that_of_whole_matrices_and_loops(pieces, space):
    logits, targets = split()
    link = Link(1.0, 2.0)
    ranked = rank_scores(logits, space, link)
    loops = [
        naive_average_precision(s, t)
        for s, t in zip(ranked.T.tolist(), targets.T.tolist(), strict=True)
    ]
    expected = torch.tensor(loops, dtype=torch.float64)
    for found in (
        kept(logits, targets).average_precision(space, link),
        whole.average_precision(ranked, targets),
    ):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12, equal_nan=True)
    assert expected.isnan().sum() == 1  # the class without positives


def test_columns_are_the_scores_that_rank(pieces):
    logits, targets = split()
    scores = torch.cat([s for s, _ in kept(logits, targets).columns("softmax")], dim=1)
    torch.testing.assert_close(scores, rank_scores(logits, "softmax"), rtol=0, atol=1e-12)


def test_images_and_selections(pieces):
    logits, targets = split()
    scored = kept(logits, targets)
    assert len(scored) == 45 and scored.num_classes == 9
    assert torch.equal(scored.logits, logits) and torch.equal(scored.targets.long(), targets)
    assert torch.equal(torch.cat([row for row, _ in scored.rows()]), logits)
    assert torch.equal(scored.positives(), (targets == 1).sum(0))
    assert torch.equal(scored.image(44)[0], logits[44])
    images, classes = torch.arange(45) % 3 == 0, torch.arange(9) > 5
    assert torch.equal(scored.select(images, classes).logits, logits[images][:, classes])
    with pytest.raises(IndexError):
        scored.image(45)


@pytest.mark.parametrize("other", [0.5, 257.0, -2.0, float("nan")])
def test_targets_of_other_values_are_named(pieces, other):
    logits, targets = split()
    targets = targets.float()
    targets[30, 6] = other  # one byte each would hide some of them
    with pytest.raises(ValueError, match=r"1 \(present\).*class 6"):
        kept(logits, targets).check()


def test_batches_are_copied():
    """A captured graph writes every batch into the same memory."""
    logits, targets = split()
    scored = kept(logits, targets)
    logits.zero_()
    assert scored.logits.any()
