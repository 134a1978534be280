from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from modeling.heads.label_fusion import (
    DIRECTIONS,
    ChannelInteraction,
    DualModalAttention,
    LabelRelations,
)

B, R, C, D, HEADS = 2, 3, 4, 8, 2


def stir(module: nn.Module) -> nn.Module:
    """Parameters away from their starts, in float64."""
    for parameter in module.double().parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


def unit(*shape):
    return F.normalize(torch.randn(*shape, dtype=torch.float64), dim=-1)


def test_interaction_starts_at_the_normalised_mean():
    known, learnt = unit(C, D).float(), unit(C, D).float()
    mean = (known + learnt) / 2
    expected = F.layer_norm(mean, (D,))
    torch.testing.assert_close(ChannelInteraction(D)(known, learnt), expected, rtol=0, atol=0)


def test_interaction_equals_loops():
    module, known, learnt = stir(ChannelInteraction(D)), unit(C, D), unit(C, D)
    fused = module(known, learnt)
    first, _, second, _ = module.gate
    for c in range(C):
        both = torch.cat([known[c], learnt[c]])
        gates = torch.sigmoid(
            second.weight @ F.gelu(first.weight @ both + first.bias) + second.bias
        )
        gated = torch.empty(2 * D, dtype=torch.float64)
        for d in range(D):  # each is gated by the other's half
            gated[d] = known[c, d] * (1 + gates[D + d])
            gated[D + d] = learnt[c, d] * (1 + gates[d])
        x = (known[c] + learnt[c]) / 2 + module.merge.weight @ gated + module.merge.bias
        torch.testing.assert_close(fused[c], module.norm(x))


def test_relations_start_as_nothing_and_then_see_other_labels():
    labels = unit(C, D)
    assert torch.equal(LabelRelations(D, HEADS).double()(labels), labels)
    module = stir(LabelRelations(D, HEADS))
    changed = labels.clone()
    changed[0] += unit(D)
    moved = (module(changed) - module(labels)).norm(dim=-1)
    assert (moved > 1e-4).all()


def naive_exchange(module, labels, regions, mask):
    """The definition, one image, head, label and region at a time."""
    size = D // HEADS
    new_labels = torch.zeros(B, C, D, dtype=torch.float64)
    new_regions = torch.zeros(B, R, D, dtype=torch.float64)
    for b in range(B):
        seen = [r for r in range(R) if mask is None or mask[b, r]]
        from_regions, from_labels = torch.zeros(C, D), torch.zeros(R, D)
        from_regions, from_labels = from_regions.double(), from_labels.double()
        for h in range(HEADS):
            part = slice(h * size, (h + 1) * size)
            q, k = module.queries(labels)[:, part], module.keys(regions[b])[:, part]
            affinity = [[float(q[c] @ k[r]) / math.sqrt(size) for r in range(R)] for c in range(C)]
            if module.updates_labels:
                values = module.to_labels.values(regions[b])[:, part]
                for c in range(C):
                    shares = [math.exp(affinity[c][r]) for r in seen]
                    for share, r in zip(shares, seen, strict=True):
                        from_regions[c, part] += share / sum(shares) * values[r]
            if module.updates_regions:
                values = module.to_regions.values(labels)[:, part]
                for r in range(R):
                    shares = [math.exp(affinity[c][r]) for c in range(C)]
                    for c in range(C):
                        from_labels[r, part] += shares[c] / sum(shares) * values[c]
        new_labels[b], new_regions[b] = labels, regions[b]
        if module.updates_labels:
            new_labels[b] = naive_update(module.to_labels, labels, from_regions)
        if module.updates_regions:
            new_regions[b] = naive_update(module.to_regions, regions[b], from_labels)
    return new_labels, new_regions


def naive_update(update, x, brought):
    x = update.norm(x + brought)
    return update.last_norm(x + update.narrow(F.gelu(update.widen(x))))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("direction", [d for d in DIRECTIONS if d != "off"])
def test_exchange_equals_loops(direction, masked):
    module = stir(DualModalAttention(D, HEADS, direction))
    labels, regions = unit(C, D), unit(B, R, D)
    mask = torch.tensor([[True, False, True], [True, True, False]]) if masked else None
    with torch.no_grad():
        new_labels, new_regions = module(labels, regions, mask)
        expected_labels, expected_regions = naive_exchange(module, labels, regions, mask)
    torch.testing.assert_close(new_labels.expand(B, C, D), expected_labels)
    torch.testing.assert_close(new_regions, expected_regions)
    assert new_labels.dim() == (3 if direction in ("both", "labels") else 2)


def test_exchange_starts_with_each_side_as_it_is():
    module = DualModalAttention(D, HEADS).double()
    labels = F.layer_norm(unit(C, D), (D,), eps=0.0)
    regions = F.layer_norm(unit(B, R, D), (D,), eps=0.0)
    new_labels, new_regions = module(labels, regions)
    torch.testing.assert_close(new_labels, labels.expand(B, C, D), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(new_regions, regions, rtol=1e-4, atol=1e-4)


def test_every_parameter_learns_once_the_zeros_have_moved():
    module = stir(DualModalAttention(D, HEADS))
    new_labels, new_regions = module(unit(C, D), unit(B, R, D))
    (new_labels.pow(3).sum() + new_regions.pow(3).sum()).backward()
    silent = [n for n, p in module.named_parameters() if p.grad is None or not p.grad.abs().max()]
    assert not silent


def test_a_side_that_stays_as_it_is_has_no_parameters():
    only_labels = DualModalAttention(D, HEADS, "labels")
    assert not any(name.startswith("to_regions") for name, _ in only_labels.named_parameters())
    off, labels, regions = DualModalAttention(D, HEADS, "off"), unit(C, D), unit(B, R, D)
    assert not list(off.parameters())
    assert off(labels, regions) == (labels, regions)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="HEADS must divide the features' width 8, got 3; try 2"):
        DualModalAttention(D, 3)
    with pytest.raises(ValueError, match="got 0; try 1"):
        LabelRelations(D, 0)
