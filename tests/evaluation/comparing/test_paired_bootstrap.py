from __future__ import annotations

import torch

from evaluation.comparing.paired_bootstrap import draw_counts, resampled_precisions
from evaluation.metrics.average_precision import average_precision
from evaluation.metrics.class_rankings import ClassRankings

CPU = torch.device("cpu")


def test_counts_are_those_of_n_draws():
    counts = torch.cat(list(draw_counts(50, 2000, CPU)), dim=1)
    assert counts.shape == (50, 2000) and (counts.sum(dim=0) == 50).all()
    # binomial (50, 1/50): mean 1, variance 0.98
    assert abs(counts.var() - 0.98) < 0.02
    assert counts.mean(dim=1).sub(1).abs().max() < 5 * (0.98 / 2000) ** 0.5


def test_draws_do_not_depend_on_how_many_are_held():
    whole = torch.cat(list(draw_counts(50, 30, CPU)), dim=1)
    pieces = list(draw_counts(50, 30, CPU, weights=350))
    assert [piece.shape[1] for piece in pieces] == [7, 7, 7, 7, 2]
    assert torch.equal(torch.cat(pieces, dim=1), whole)


def test_every_ranking_is_scored_on_the_same_resamples():
    rng = torch.Generator().manual_seed(0)
    targets = (torch.rand(50, 3, generator=rng) < 0.3).long()
    both = [targets + torch.randn(50, 3, generator=rng) for _ in range(2)]
    found = resampled_precisions([ClassRankings(s, targets) for s in both], 50, resamples=20)
    (counts,) = draw_counts(50, 20, CPU)
    for scores, precisions in zip(both, found, strict=True):
        for weights, row in zip(counts.T.long(), precisions, strict=True):
            images = torch.arange(50).repeat_interleave(weights)
            expected = average_precision(scores[images], targets[images])
            torch.testing.assert_close(row, expected, equal_nan=True, rtol=0, atol=1e-12)
