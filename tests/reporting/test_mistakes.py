from __future__ import annotations

import torch

from reporting.mistakes import worst_mistakes
from tests.helpers.runs.saved_runs import made_scores


def naive_mistakes(scores, targets):
    known = [i for i, t in enumerate(targets) if t != -1]
    wrong = [
        (-scores[i], i)
        for i in known
        if targets[i] == 0 and any(targets[k] == 1 and scores[k] <= scores[i] for k in known)
    ]
    missed = [
        (scores[i], i)
        for i in known
        if targets[i] == 1 and any(targets[k] == 0 and scores[k] >= scores[i] for k in known)
    ]
    return [i for _, i in sorted(wrong)], [i for _, i in sorted(missed)]


def test_worst_mistakes_come_first_with_score_and_rank():
    scores, targets = (matrix[:, 0] for matrix in made_scores(40, 1))
    expected = naive_mistakes(scores.tolist(), targets.tolist())
    for mistakes, images in zip(worst_mistakes(scores, targets, 5), expected, strict=True):
        assert len(images) > 5
        assert [m.image for m in mistakes] == images[:5]
        for mistake in mistakes:
            assert mistake.score == scores[mistake.image]
            assert mistake.rank == 1 + sum((scores > mistake.score) & (targets != -1))


def test_a_perfect_ranking_and_a_class_that_never_occurs_have_none():
    scores = torch.tensor([3.0, 2.0, 1.0])
    assert worst_mistakes(scores, torch.tensor([1, 1, 0]), 4) == ([], [])
    assert worst_mistakes(scores, torch.tensor([0, 0, -1]), 4) == ([], [])
