from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from modeling.heads.category_prompts import CategoryPrompts
from tests.helpers.tolerance import assert_as_exact, in_double

WIDTH, HEADS, HEAD_WIDTH = 12, 3, 8  # 24 channels of attention: not the width


def made(dropout=0.0):
    torch.manual_seed(0)
    return CategoryPrompts(torch.randn(4, 10), WIDTH, HEADS, HEAD_WIDTH, dropout).eval()


def case(images=3, regions=5):
    generator = torch.Generator().manual_seed(1)
    mask = torch.ones(images, regions, dtype=torch.bool)
    mask[1:, 2:] = False
    return F.normalize(torch.randn(images, regions, 10, generator=generator), dim=-1), mask


def layer_norm(x, norm):
    centred = x - x.mean()
    return centred / (centred.square().mean() + norm.eps).sqrt() * norm.weight + norm.bias


def naive_scores(head, regions, mask):
    """z [B, C], image by image and head by head; all tokens pass the layer, as in the paper."""
    layer, texts = head.layer, head.texts
    prompts = [head.prompt[2](F.gelu(head.prompt[0](text))) for text in texts]
    rows = []
    for b in range(len(regions)):
        seen = [r for r, there in zip(regions[b], mask[b], strict=True) if there]
        tokens = [layer_norm(t, layer.norm) for t in [*map(head.region, seen), *prompts]]
        for c, prompt in enumerate(prompts):
            query = layer.queries(tokens[len(seen) + c])
            mixed = []
            for h in range(HEADS):
                part = slice(h * HEAD_WIDTH, (h + 1) * HEAD_WIDTH)
                fits = [query[part] @ layer.keys(t)[part] / math.sqrt(HEAD_WIDTH) for t in tokens]
                total = sum(fit.exp() for fit in fits)
                values = [layer.values(t)[part] for t in tokens]
                mixed.append(sum(f.exp() / total * v for f, v in zip(fits, values, strict=True)))
            x = layer_norm(layer.mix(torch.cat(mixed)), layer.second_norm)
            rows.append(layer.narrow(F.gelu(layer.widen(x))) @ prompt)
    return torch.stack(rows).view(len(regions), -1)


@pytest.mark.parametrize("masked", [False, True])
def test_scores_and_gradients_equal_naive_loops(masked):
    """Gradients reach the prompts through what they see and through the product."""
    head = made()
    regions, mask = case()
    mask = mask if masked else torch.ones_like(mask)
    heads = [head, head, in_double(head)]
    found = [head(head.prompts(), regions, mask if masked else None)]
    found += [naive_scores(its, regions.to(its.texts.dtype), mask) for its in heads[1:]]
    gradients = [
        torch.autograd.grad(z.square().sum(), [*its.parameters()], retain_graph=True)
        for z, its in zip(found, heads, strict=True)
    ]
    assert_as_exact(*found)
    for name, *values in zip(dict(head.named_parameters()), *gradients, strict=True):
        if name != "layer.keys.bias":  # behind a softmax over keys it does nothing
            assert_as_exact(*values)


def test_gradients_take_both_ways_to_the_prompts():
    head, (regions, _) = made(), case()
    prompts = head.prompts().detach().requires_grad_()
    seen = head.layer(prompts, head.region(regions))
    both, by_sight, by_product = (
        torch.autograd.grad((one * other).sum(), prompts, retain_graph=True)[0]
        for one, other in ((seen, prompts), (seen, prompts.detach()), (seen.detach(), prompts))
    )
    torch.testing.assert_close(both, by_sight + by_product)
    assert by_sight.abs().max() > 0 and by_product.abs().max() > 0


def test_dropout_is_for_training_alone():
    head, (regions, _) = made(dropout=0.5), case()
    first, second = (head(head.prompts(), regions) for _ in range(2))
    assert torch.equal(first, second)
    head.train()
    assert not torch.equal(head(head.prompts(), regions), first)
