from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from evaluation.metrics.average_precision import average_precision
from evaluation.metrics.output_link import IDENTITY, Link, choose_link, link_keys


@pytest.fixture
def scored():
    """Logits [200, 6] of images with up to four objects, and targets."""
    rng = torch.Generator().manual_seed(3)
    targets = (torch.rand(200, 6, generator=rng) < 0.35).long()
    strength = 4 * torch.rand(200, 1, generator=rng)  # some images are clear, some are not
    return strength * targets + torch.randn(200, 6, generator=rng), targets


def test_scores_are_a_softmax_of_sigmoids(scored):
    logits = scored[0].double().numpy()
    bounded = 1 / (1 + np.exp(-(logits - 1.5) / 0.75))
    expected = np.exp(bounded) / np.exp(bounded).sum(axis=1, keepdims=True)
    found = Link(1.5, 0.75).log_softmax(scored[0]).exp().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_order_of_a_class_alone_is_that_of_its_logits(scored):
    logits = scored[0][:, :1]
    assert torch.equal(Link(0.5, 2.0)(logits).argsort(dim=0), logits.argsort(dim=0))


def test_the_chosen_link_beats_the_plain_softmax_where_images_hold_several_objects(scored):
    logits, targets = scored
    link = choose_link(logits, targets)

    def mean_precision(scores):
        columns = zip(targets.T.numpy(), scores.T.numpy(), strict=True)
        return np.mean([average_precision_score(*column) for column in columns])

    chosen = mean_precision(link.log_softmax(logits))
    assert chosen > mean_precision(logits.double().log_softmax(dim=1)) + 0.05
    for other in (Link(-5.0, 0.1), Link(link.centre + 2, link.width), Link(0.0, 0.01)):
        assert chosen >= mean_precision(other.log_softmax(logits)) - 1e-12


def test_the_logits_themselves_are_chosen_where_no_sigmoid_helps():
    """One object an image, and an image's strength that is noise: what the softmax takes out."""
    rng = torch.Generator().manual_seed(5)
    targets = torch.eye(5, dtype=torch.long)[torch.arange(200) % 5]
    logits = 6.0 * targets + torch.randn(200, 5, generator=rng)
    logits = logits + 40 * torch.randn(200, 1, generator=rng)
    assert choose_link(logits, targets) == IDENTITY
    assert torch.equal(IDENTITY.log_softmax(logits), logits.double().log_softmax(dim=1))
    assert link_keys(IDENTITY) == {"TEST.LINK": "identity"}


def test_keys_of_a_sigmoid():
    expected = {"TEST.LINK": "sigmoid", "TEST.LINK_CENTRE": 1.5, "TEST.LINK_WIDTH": 0.5}
    assert link_keys(Link(1.5, 0.5)) == expected


def test_the_choice_ignores_unknown_targets(scored):
    logits, targets = scored
    hidden = targets.clone()
    hidden[::3] = -1
    known = hidden[:, 0] != -1
    link = choose_link(logits, hidden)
    best = average_precision(link.log_softmax(logits[known]), targets[known]).mean()
    other = choose_link(logits[known], targets[known])
    assert best >= average_precision(other.log_softmax(logits[known]), targets[known]).mean() - 0.02


@pytest.mark.parametrize(
    ("logits", "targets"),
    [(torch.zeros(4, 2), torch.ones(4, 2)), (torch.randn(4, 2), torch.zeros(4, 2))],
)
def test_a_choice_without_a_difference_is_refused(logits, targets):
    with pytest.raises(ValueError, match="logits that differ and a positive target"):
        choose_link(logits, targets)
