from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from modeling.encoders.text_encoder import TextEncoder
from modeling.prompts.meta_net import MetaNet, conditional_cosines, conditional_prompts
from modeling.prompts.prompt_learner import PromptLearner
from tests.helpers.naive.naive_text import naive_prompts, naive_text_features
from tests.helpers.tolerance import assert_as_exact, in_double

NAMES = ["cat", "traffic_light", "tv monitor"]


def numbers(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("width", "expected"), [(1024, 98_880), (512, 33_312)])
def test_the_meta_net_has_the_size_of_the_papers(width, expected):
    assert numbers(MetaNet(width, 512)) == expected  # CLIP's RN50 and ViT-B/16


def test_the_meta_net_is_two_layers_with_a_ReLU_between():
    net, features = MetaNet(32, 64), torch.randn(5, 32)
    hidden = (features @ net.linear1.weight.T + net.linear1.bias).clamp(min=0)
    assert hidden.shape == (5, 2)
    assert torch.allclose(
        net(features), hidden @ net.linear2.weight.T + net.linear2.bias, atol=1e-6
    )


def test_it_starts_as_linear_layers_do_from_its_own_generator():
    def start(seed):
        return MetaNet(512, 512, torch.Generator().manual_seed(seed))

    first = start(1)
    torch.rand(3)
    assert torch.equal(first.linear2.weight, start(1).linear2.weight)
    assert not torch.equal(first.linear2.weight, start(2).linear2.weight)
    for name in ("linear1", "linear2"):
        ours = getattr(first, name)
        theirs = nn.Linear(ours.in_features, ours.out_features)
        for part in ("weight", "bias"):
            found, expected = getattr(ours, part).detach(), getattr(theirs, part).detach()
            assert float(found.abs().max()) == pytest.approx(ours.in_features**-0.5, rel=0.2)
            assert float(found.std()) == pytest.approx(float(expected.std()), rel=0.3)


@pytest.mark.parametrize("csc", [False, True])
@pytest.mark.parametrize("position", ["end", "middle", "front"])
def test_every_context_token_of_an_image_gets_the_same_shift(position, csc, vit):
    learner = PromptLearner(NAMES, vit, n_ctx=3, position=position, csc=csc)
    shifts = torch.randn(4, 64)
    prompts = conditional_prompts(learner, shifts)
    assert prompts.shape == (4, len(NAMES), learner.length, 64)
    for image, shift in zip(prompts, shifts, strict=True):
        expected = naive_prompts(NAMES, vit, learner.ctx + shift, position)
        assert torch.allclose(image, expected[:, : learner.length], atol=1e-6)
    assert torch.equal(conditional_prompts(learner, torch.zeros(1, 64))[0], learner())


def small_case(clip_model, images=5):
    learner, net = PromptLearner(NAMES, clip_model, n_ctx=3), MetaNet(32, 64)
    features = F.normalize(torch.randn(images, 32), dim=-1)
    return learner, net, TextEncoder(clip_model), features


def naive_cosines(learner, net, clip_model, features):
    """An image after the other, 77 tokens, CLIP's own transformer."""
    rows = []
    for feature in features:
        contexts = (learner.ctx + net(feature)).to(clip_model.dtype)
        text_features = naive_text_features(NAMES, clip_model, contexts)
        rows.append(torch.stack([feature.to(text.dtype) @ text for text in text_features]))
    return torch.stack(rows)


@pytest.mark.parametrize("chunk", [1, 2, 5, 64])
def test_chunks_equal_the_naive_loop_in_value_and_gradient(chunk, clip_model):
    learner, net, text_encoder, features = case = small_case(clip_model)
    clips = (clip_model, in_double(clip_model))
    twins = [naive_cosines(learner, net, clip, features) for clip in clips]
    ours = conditional_cosines(*case, chunk)
    assert_as_exact(ours, *twins)
    with torch.no_grad():
        assert_as_exact(conditional_cosines(*case, chunk), *twins)
    weight, trained = torch.randn_like(ours), [learner.ctx, *net.parameters()]
    gradients = (torch.autograd.grad((f * weight).sum(), trained) for f in (ours, *twins))
    for found in zip(*gradients, strict=True):
        assert_as_exact(*found)


def test_chunks_bound_what_the_backward_pass_keeps(vit):
    case = small_case(vit, images=8)

    def kept(chunk):
        """Numbers that are held between the passes."""
        sizes = []

        def pack(tensor):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            conditional_cosines(*case, chunk)
        return sum(sizes)

    assert kept(1) < 0.05 * kept(8)
