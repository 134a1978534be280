from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from modeling.heads.region_adapter import RegionAdapter

FEATURES = F.normalize(torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0)), dim=-1)


def stirred(dropout=0.0):
    torch.manual_seed(1)
    adapter = RegionAdapter(8, 5, dropout, seed=3)
    for parameter in adapter.parameters():
        nn.init.normal_(parameter, std=0.5)
    return adapter


def test_it_starts_as_the_features_themselves():
    torch.testing.assert_close(RegionAdapter(8, 5, 0.5, seed=3)(FEATURES), FEATURES)


def test_moved_features_number_by_number():
    adapter, found = stirred(), stirred()(FEATURES)
    widen, narrow = adapter.widen, adapter.narrow
    for b in range(2):
        for r in range(3):
            entries = [math.sqrt(8) * value for value in FEATURES[b, r].tolist()]
            hidden = []
            for row, start in zip(widen.weight.tolist(), widen.bias.tolist(), strict=True):
                x = start + sum(w * f for w, f in zip(row, entries, strict=True))
                hidden.append(x * 0.5 * (1 + math.erf(x / math.sqrt(2))))  # GELU
            moved = []
            for d, (row, start) in enumerate(
                zip(narrow.weight.tolist(), narrow.bias.tolist(), strict=True)
            ):
                step = start + sum(w * h for w, h in zip(row, hidden, strict=True))
                moved.append(FEATURES[b, r, d].item() + step / math.sqrt(8))
            length = math.sqrt(sum(value * value for value in moved))
            expected = [value / length for value in moved]
            assert found[b, r].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-5)
    squares = [w * w for row in narrow.weight.tolist() for w in row]
    assert adapter.square().item() == pytest.approx(sum(squares), rel=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_similarity_equals_that_of_moved_features(dropout):
    """Values and gradients, with the same hidden units dropped."""
    anchors = torch.randn(7, 8, generator=torch.Generator().manual_seed(2)).requires_grad_()
    adapter, features = stirred(dropout).double(), 1.1 * FEATURES.double()
    trained = [anchors, *adapter.parameters()]
    found = []
    for similarity in (
        lambda: adapter.similarity(features, anchors.double()),
        lambda: adapter(features) @ anchors.double().t(),
    ):
        torch.manual_seed(4)
        values = similarity()
        found.append([values, *torch.autograd.grad(values.square().sum(), trained)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_dropout_is_for_training_alone():
    adapter = stirred(dropout=0.5)
    assert not torch.equal(adapter(FEATURES), adapter(FEATURES))
    adapter.eval()
    torch.testing.assert_close(adapter(FEATURES), stirred()(FEATURES))


def test_all_regions_of_an_image_lose_the_same_units():
    adapter = stirred(dropout=0.5)
    same = FEATURES[:, :1].expand(2, 3, 8)  # three regions that are alike
    for moved in (adapter(same), adapter.similarity(same, torch.eye(8))):
        torch.testing.assert_close(moved, moved[:, :1].expand(2, 3, 8))
        alone = stirred()(same)
        assert not torch.allclose(moved[0], alone[0]) and not torch.allclose(moved[1], alone[1])
    images = FEATURES[:1].expand(64, 3, 8)  # as many images that are alike
    assert len(adapter(images)[:, 0].unique(dim=0)) > 8


def test_the_seed_alone_decides_where_it_starts():
    state = torch.get_rng_state()
    same, other = RegionAdapter(8, 5, 0.0, 3), RegionAdapter(8, 5, 0.0, 4)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(same.widen.weight, RegionAdapter(8, 5, 0.0, 3).widen.weight)
    assert not torch.equal(same.widen.weight, other.widen.weight)
