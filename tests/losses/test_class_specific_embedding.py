"""The class-specific embedding loss, its margins, weights and counts."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from losses.class_specific_embedding import (
    class_margins,
    class_specific_embedding_loss,
    class_weights,
    effective_counts,
)
from modeling.captions.token_distance import aligned_distance
from tests.helpers.naive import naive_losses as naive


def loss_case(seed, images=6, classes=5):
    """Return distances in [0, 2] away from the margins, targets, margins and weights."""
    generator = torch.Generator().manual_seed(seed)
    distance = 2 * torch.rand(images, classes, generator=generator, dtype=torch.float64)
    targets = torch.randint(-1, 2, (images, classes), generator=generator)
    counts = torch.randint(1, 800, (classes,), generator=generator)
    margins, weights = class_margins(counts.double()), class_weights(counts.double())
    assert (distance - margins).abs().min() > 1e-4
    return distance.requires_grad_(), targets, margins, weights


@pytest.mark.parametrize("reduction", ["weighted_sum", "mean"])
@pytest.mark.parametrize("sign", ["hinge", "inverted"])
@pytest.mark.parametrize("seed", range(4))
def test_loss_equals_naive_loops_in_value_and_gradient(seed, sign, reduction):
    distance, targets, margins, weights = loss_case(seed)
    entries = naive.embedding(distance, targets, margins, weights, sign)
    denominator = len(entries) if reduction == "mean" else (targets != -1).any(1).sum()
    expected = torch.stack(entries).sum() / denominator

    def loss(delta):
        return class_specific_embedding_loss(delta, targets, margins, weights, sign, reduction)

    actual = loss(distance)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(
        torch.autograd.grad(actual, distance), torch.autograd.grad(expected, distance)
    )
    assert gradcheck(loss, distance)


@pytest.mark.parametrize("reduction", ["weighted_sum", "mean"])
def test_uniform_weights_and_constant_margin_give_the_hinge_embedding_loss(reduction):
    distance, _, _, _ = loss_case(1)
    targets = torch.randint(0, 2, distance.shape, generator=torch.Generator().manual_seed(3))
    classes = distance.shape[1]
    actual = class_specific_embedding_loss(
        *(distance, targets, torch.full((classes,), 0.7)),
        class_weights([50.0] * classes).double(),
        reduction=reduction,
    )
    scale = classes if reduction == "mean" else 1
    expected = F.hinge_embedding_loss(distance, 2 * targets - 1, margin=0.7)
    torch.testing.assert_close(scale * actual, expected)


@pytest.mark.parametrize("sign", ["hinge", "inverted"])
def test_direction_of_a_gradient_step(sign):
    """The hinge pulls present classes in and pushes absent ones out; the release does neither."""
    captions, contexts, mask = naive.embedding_case(5)
    contexts = (captions[:3] + 0.5 * contexts.detach()).requires_grad_()  # distances of 0 to 2
    targets = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1]])
    # Margins of 2.5 and 0 keep the hinge active and the inverted positives asleep.
    margins = torch.full((3,), 2.5 if sign == "hinge" else 0.0, dtype=torch.float64)
    weights = torch.full((3,), 1 / 3, dtype=torch.float64)
    distance = aligned_distance(captions, contexts, mask)
    loss = class_specific_embedding_loss(distance, targets, margins, weights, sign)
    slope = torch.autograd.grad(loss, distance, retain_graph=True)[0]
    (gradient,) = torch.autograd.grad(loss, contexts)
    moved = aligned_distance(captions, contexts - 1e-3 * gradient, mask)
    if sign == "hinge":
        assert (slope[targets == 1] > 0).all()
        assert (slope[targets == 0] < 0).all()
        assert moved[targets == 1].sum() < distance[targets == 1].sum()
        assert moved[targets == 0].sum() > distance[targets == 0].sum()
    else:
        assert (slope[targets == 1] == 0).all()
        assert (slope[targets == 0] > 0).all()
        assert moved[targets == 0].sum() < distance[targets == 0].sum()


def test_image_free_training_learns_which_caption_belongs_to_which_class():
    """Captions alone, no images, in batches of 4 with a last batch of 2."""
    captions, contexts, mask = naive.embedding_case(6, images=10, classes=5, width=16)
    targets = F.one_hot(torch.arange(10) % 5, 5)
    # Captions of one class share a direction, as captions of one class share words.
    captions = captions + 2 * captions[:5].repeat(2, 1, 1)
    counts = [4.0, 8.0, 40.0, 100.0, 775.0]
    margins, weights = class_margins(counts), class_weights(counts, gamma=0.25)
    optimiser = torch.optim.SGD([contexts], lr=5.0)
    for _ in range(60):
        for rows in torch.arange(10).split(4):
            distance = aligned_distance(captions[rows], contexts, mask[rows])
            loss = class_specific_embedding_loss(distance, targets[rows], margins, weights)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    distance = aligned_distance(captions, contexts, mask)
    assert torch.equal(distance.argmin(dim=1), targets.argmax(dim=1))


def test_margins_and_weights_of_the_benchmarks():
    for counts, low, high in [
        (naive.VOC_COUNTS, 0.03791, 0.14142),
        (naive.COCO_COUNTS, 0.03451, 0.12779),
    ]:
        margins = class_margins(counts, scale=0.2, power=0.25)
        assert margins.min().item() == pytest.approx(low, abs=5e-6)
        assert margins.max().item() == pytest.approx(high, abs=5e-6)
    for counts, gamma, high, low in [
        (naive.VOC_COUNTS, 1.0, 0.19286, 9.954e-4),
        (naive.COCO_COUNTS, 1.0, 0.04756, 2.530e-4),
        (naive.VOC_COUNTS, 2.0, 0.33121, 8.82e-6),
        (naive.COCO_COUNTS, 2.0, 0.08927, 2.53e-6),
    ]:
        weights = class_weights(counts, gamma)
        assert weights.sum().item() == pytest.approx(1.0)
        assert weights.max().item() == pytest.approx(high, rel=1e-3)
        assert weights.min().item() == pytest.approx(low, rel=2e-3)  # given to three digits


def test_effective_counts():
    raw = effective_counts([0, 4, 775])
    assert raw.tolist() == [1.0, 4.0, 775.0]
    # The first release: softmax of the images *without* the class.
    negative = effective_counts(naive.VOC_COUNTS, "softmax_negfreq")
    rare = [naive.COW, naive.SHEEP, naive.AEROPLANE, naive.TRAIN, naive.BIRD]
    expected = torch.tensor([0.636, 0.234, 0.086, 0.032, 0.012])
    torch.testing.assert_close(negative[rare], expected, rtol=0, atol=6e-4)
    without = torch.tensor([naive.VOC_TRAIN - n for n in naive.VOC_COUNTS], dtype=torch.float32)
    torch.testing.assert_close(negative, without.softmax(0).clamp(min=1e-6))
    frequency = effective_counts(naive.VOC_COUNTS, "softmax_freq", eps=1e-6)
    assert frequency[naive.PERSON] == 1.0
    assert (frequency.sort().values[:-1] == 1e-6).all()
    for counts in (negative, frequency):
        assert torch.isfinite(class_margins(counts)).all()
        assert torch.isfinite(class_weights(counts, gamma=2.0)).all()


def test_released_strict():
    """The loss as released can neither run nor, once its shapes are repaired, give a number.

    It sums the class weights over dimension 2, but they were expanded to [B, C] only, so that the
    first step raises IndexError. With the dimension corrected, its counts are a softmax over
    training counts that differ by hundreds: in float32 all but one class (softmax of n), or 5
    classes of VOC-LT and 21 of COCO-LT (softmax of N - n), become exactly 0. A negative power of
    0 is infinite, and infinite weights divided by their infinite sum are NaN. Hence the ``eps``
    of ``effective_counts`` and the softmax of logarithms in ``class_weights``.
    """
    present = torch.zeros(64, 20).scatter(1, torch.tensor([[naive.PERSON]]).expand(64, 1), 1.0)
    summed = torch.rand(64, 20, generator=torch.Generator().manual_seed(0))
    counts = torch.tensor(naive.VOC_COUNTS, dtype=torch.float32).softmax(0).expand(64, 20)

    def released(weight_dimension):
        margins = 0.2 / counts**0.25
        slack = torch.relu(margins - (2 * present - 1) * summed)
        inverse = 1 / counts**2
        return (slack * inverse / inverse.sum(dim=weight_dimension, keepdim=True)).mean()

    with pytest.raises(IndexError, match="Dimension out of range"):
        released(2)
    assert (counts[0] == 0).sum() == 19
    assert released(1).isnan()
    for class_counts, zeros in [(naive.VOC_COUNTS, 5), (naive.COCO_COUNTS, 21)]:
        negative = -torch.tensor(class_counts, dtype=torch.float32)
        assert (negative.softmax(0) == 0).sum() == zeros

    repaired = effective_counts(naive.VOC_COUNTS, "softmax_freq")
    loss = class_specific_embedding_loss(
        *(summed, present, class_margins(repaired, 0.2), class_weights(repaired, 2.0)),
        sign="inverted",
        reduction="mean",
    )
    assert torch.isfinite(loss)


def test_all_unknown_and_any_last_batch():
    distance, targets, margins, weights = loss_case(2)
    for reduction in ("weighted_sum", "mean"):
        loss = class_specific_embedding_loss(
            distance, torch.full_like(targets, -1), margins, weights, reduction=reduction
        )
        assert loss.item() == 0.0
        assert (torch.autograd.grad(loss, distance)[0] == 0).all()
        for images in (1, 5, 0):
            last = class_specific_embedding_loss(
                distance[:images], targets[:images], margins, weights, reduction=reduction
            )
            assert torch.isfinite(last)


def test_errors():
    with pytest.raises(ValueError, match="Did you mean 'softmax_freq'"):
        effective_counts([1, 2], "softmaxfreq")
    with pytest.raises(ValueError, match="eps must be positive"):
        effective_counts([1, 2], "softmax_freq", eps=0.0)
    distance, targets, margins, weights = loss_case(0)
    with pytest.raises(ValueError, match="Did you mean 'hinge'"):
        class_specific_embedding_loss(distance, targets, margins, weights, sign="hinges")
    with pytest.raises(ValueError, match="weighted_sum"):
        class_specific_embedding_loss(distance, targets, margins, weights, reduction="sum")
    with pytest.raises(ValueError, match=r"must be \[C\] = \[5\], got \[4\]"):
        class_specific_embedding_loss(distance, targets, margins[:4], weights)
