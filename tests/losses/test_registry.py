"""The registry of ``losses/__init__.py``: names, options and bound counts."""

from __future__ import annotations

import pytest
import torch

import losses
from losses import LOSSES, build_loss, loss_options
from tests.helpers import naive_losses as naive

NUM_TRAIN = 120
NAMES = [
    *["bce", "asl", "focal", "db", "db_no_focal", "r_bce_focal", "ntr_focal"],
    *["cb_focal", "cb_ntr", "ranking", "softmax_ce"],
]


def test_names():
    assert list(LOSSES) == NAMES
    for name in losses.__all__:
        assert hasattr(losses, name)


@pytest.mark.parametrize(
    ("name", "scale", "parts"),
    [
        ("db", 1.0, {}),
        ("db_no_focal", 0.5, {"focal_part": False}),
        ("r_bce_focal", 1.0, {"negative_tolerant": False, "balance": 0.5}),
        ("ntr_focal", 1.0, {"rebalance": False, "balance": 0.5}),
    ],
)
def test_named_compositions_of_the_distribution_balanced_loss(name, scale, parts):
    logits, targets, counts = naive.random_case(1)
    actual = build_loss(name, counts, NUM_TRAIN, mu=0.2, neg_scale=2.0)(logits, targets)
    entries = naive.distribution_balanced(
        logits, targets, counts, NUM_TRAIN, mu=0.2, neg_scale=2.0, **parts
    )
    expected = scale * naive.reduced(entries, "mean")
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("name", "ntr"), [("cb_focal", None), ("cb_ntr", (NUM_TRAIN, 2.0, 0.05))])
def test_named_compositions_of_the_class_balanced_loss(name, ntr):
    logits, targets, counts = naive.random_case(2)
    actual = build_loss(name, counts, NUM_TRAIN)(logits, targets)
    entries = naive.class_balanced(logits, targets, counts, 0.9, "by_class", ntr)
    expected = 10 * naive.reduced(entries, "mean")
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "entries"),
    [
        ("bce", naive.bce),
        ("focal", naive.focal),
        ("asl", lambda z, y: naive.asymmetric(z, y, 4.0, 0.0, 0.05, True)),
        ("ranking", naive.ranking),
    ],
)
def test_defaults_of_losses_without_counts(name, entries):
    logits, targets, counts = naive.random_case(3)
    actual = build_loss(name, counts, NUM_TRAIN)(logits, targets)
    torch.testing.assert_close(actual, naive.reduced(entries(logits, targets), "mean"))


@pytest.mark.parametrize("name", NAMES)
def test_every_advertised_option_binds(name):
    logits, targets, counts = naive.random_case(4)
    values = {"variant": "paper", "mode": "min_n", "detach_focal": False, "reduction": "sum"}
    for option in loss_options(name):
        if option in ("focal", "rebalance", "negative_tolerant"):
            value = False
        else:
            value = values.get(option, 0.4)
        changed = build_loss(name, counts, NUM_TRAIN, **{option: value})
        assert torch.isfinite(changed(logits, targets))


def test_counts_may_be_list_array_or_tensor():
    logits, targets, counts = naive.random_case(5)
    expected = build_loss("db", counts, NUM_TRAIN)(logits, targets)
    for same in (torch.tensor(counts), torch.tensor(counts).numpy(), tuple(counts)):
        assert build_loss("db", same, NUM_TRAIN)(logits, targets) == expected


def test_errors_name_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'db_no_focal'"):
        build_loss("db_nofocal", [1, 2], 5)
    with pytest.raises(ValueError, match="has no option 'neg_scal'.*Did you mean 'neg_scale'"):
        build_loss("db", [1, 2], 5, neg_scal=2.0)
    with pytest.raises(ValueError, match="'db_no_focal' has no option 'focal'"):
        build_loss("db_no_focal", [1, 2], 5, focal=True)
    with pytest.raises(ValueError, match="pass the number of training images"):
        build_loss("db", [1, 20], 18)
