from __future__ import annotations

import pytest
import torch

from evaluation.fitted.threshold_choice import Criterion, best_threshold, choose_thresholds
from evaluation.metrics.threshold_metrics import threshold_metrics


def outcomes(scores, targets):
    """Every threshold between, below and at scores, with its precision, recall and F1."""
    pairs = [(s, t) for s, t in zip(scores, targets, strict=True) if t != -1]
    levels = sorted({s for s, _ in pairs})
    tried = [
        levels[0] - 5,
        *levels,
        *((a + b) / 2 for a, b in zip(levels, levels[1:], strict=False)),
    ]
    found = []
    for threshold in tried:
        predicted = [t for s, t in pairs if s > threshold]
        hits = sum(t == 1 for t in predicted)
        positives = sum(t == 1 for _, t in pairs)
        precision = hits / len(predicted) if predicted else 0.0
        recall = hits / positives
        both = precision + recall
        found.append((precision, recall, 2 * precision * recall / both if both else 0.0))
    return found


def random_class(seed, size=40, levels=12):
    """Scores with ties, targets with unknown ones, some positive."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(levels, [size], generator=generator).float() / 3
    targets = (torch.rand(size, generator=generator) < 0.15 + 0.05 * scores).int()
    targets[torch.rand(size, generator=generator) < 0.2] = -1
    targets[0] = 1
    return scores, targets


@pytest.mark.parametrize("seed", range(25))
def test_no_threshold_has_a_higher_f1(seed):
    scores, targets = random_class(seed)
    found = best_threshold(scores, targets, Criterion())
    best = max(f1 for _, _, f1 in outcomes(scores.tolist(), targets.tolist()))
    assert found.f1 == pytest.approx(best, rel=1e-12)
    predicted = (scores > found.log_odds)[:, None]
    metrics = threshold_metrics(predicted, targets[:, None])
    measured = [metrics["OP"], metrics["OR"], metrics["OF1"]]
    assert [found.precision, found.recall, found.f1] == pytest.approx(measured)
    assert found.positives == int((targets == 1).sum())


@pytest.mark.parametrize("wanted", [0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("seed", range(10))
def test_no_threshold_of_that_precision_has_a_higher_recall(seed, wanted):
    scores, targets = random_class(seed)
    found = best_threshold(scores, targets, Criterion(wanted))
    every = outcomes(scores.tolist(), targets.tolist())
    reached = [(recall, precision) for precision, recall, _ in every if precision >= wanted]
    if reached:
        assert (found.recall, found.precision) == pytest.approx(max(reached))
        assert found.rule == f"precision={wanted:g}"
    else:
        assert (found.precision, found.recall) == pytest.approx(max((p, r) for p, r, _ in every))
        assert "is not reached" in found.rule


def test_thresholds_lie_between_scores_and_ties_go_to_the_highest():
    targets = torch.tensor([1, 0, 0, 1, 0])
    found = best_threshold(torch.tensor([9.0, 7.0, 6.0, 5.0, 1.0]), targets, Criterion())
    assert found.f1 == pytest.approx(2 / 3)  # of the first alone, and of the first four
    assert found.log_odds == 8
    all_of_them = best_threshold(torch.tensor([3.0, 2.0]), torch.tensor([1, 1]), Criterion())
    assert all_of_them.log_odds == 1


def test_neighbouring_numbers_are_told_apart():
    high = torch.tensor(1.0, dtype=torch.float64)
    scores = torch.stack([high, torch.nextafter(high, high * 0)])
    assert best_threshold(scores, torch.tensor([1, 0]), Criterion()).precision == 1


def test_classes_are_chosen_for_one_by_one_and_those_with_few_positives_share():
    columns = [random_class(seed) for seed in range(4)]
    scores, targets = (torch.stack(part, dim=1) for part in zip(*columns, strict=True))
    targets[:, 2] = 0
    targets[0, 2] = 1  # one positive
    targets[:, 3] = 0  # none
    found = choose_thresholds(scores, targets, Criterion(), per_class=True, fewest_positives=2)
    for c in (0, 1):
        assert found[c] == best_threshold(scores[:, c], targets[:, c], Criterion())
    shared = best_threshold(scores.flatten(), targets.flatten(), Criterion())
    assert found[2].log_odds == found[3].log_odds == shared.log_odds
    assert found[2].rule == "shared (1 positives, fewer than 2): f1"
    assert (found[3].positives, found[3].recall, found[3].f1) == (0, 0.0, 0.0)


def test_one_threshold_for_all_has_the_highest_of1():
    columns = [random_class(seed) for seed in range(3)]
    scores, targets = (torch.stack(part, dim=1) for part in zip(*columns, strict=True))
    found = choose_thresholds(scores, targets, Criterion(), per_class=False)
    assert {row.rule for row in found} == {"shared: f1"}
    of1 = threshold_metrics(scores > found[0].log_odds, targets)["OF1"]
    every = outcomes(scores.flatten().tolist(), targets.flatten().tolist())
    assert of1 == pytest.approx(max(f1 for _, _, f1 in every))


@pytest.mark.parametrize(
    "text", ["f2", "precision", "precision=", "precision=0", "f1=1", "precision=2"]
)
def test_other_criteria_are_refused(text):
    with pytest.raises(ValueError, match="chosen for f1, or for precision=P"):
        Criterion.parse(text)


def test_criteria_are_read_as_they_are_written():
    for text in ("f1", "precision=0.9"):
        assert str(Criterion.parse(text)) == text


def test_scores_without_a_choice_are_refused():
    scores, absent = torch.zeros(2, 1), torch.zeros(2, 1)
    with pytest.raises(ValueError, match="No class is present"):
        choose_thresholds(scores, absent, Criterion(), per_class=True)
    with pytest.raises(ValueError, match="softmax over one class"):
        choose_thresholds(scores + torch.inf, absent + 1, Criterion(), per_class=True)
    with pytest.raises(ValueError, match="at least 1 positive"):
        choose_thresholds(scores, absent + 1, Criterion(), per_class=True, fewest_positives=0)
