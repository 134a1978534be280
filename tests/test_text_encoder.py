from __future__ import annotations

import copy

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from modeling.clip_loader import build_clip, tokenize
from modeling.prompt_learner import PromptLearner
from modeling.text_encoder import TextEncoder
from modeling.tokenizer import end_positions
from tests.small_clip import random_clip

NAMES = ["cat", "traffic_light", "tv monitor", "motorbike"]
TEXTS = ["a photo of a cat.", "two dogs and one rather long sentence", "x"]


def clips_own(prompts, clip_model):
    """CLIP's own transformer on all 77 positions: normalised features [C, 77, D]."""
    padding = 77 - prompts.shape[1]
    x = torch.nn.functional.pad(prompts, (0, 0, 0, padding)) + clip_model.positional_embedding
    x = clip_model.transformer(x.to(clip_model.dtype).permute(1, 0, 2)).permute(1, 0, 2)
    x = clip_model.ln_final(x) @ clip_model.text_projection
    return x / x.norm(dim=-1, keepdim=True)


def ends(features, eot):
    return features[torch.arange(len(features)), eot]


def gradient(features, ctx):
    weight = torch.randn(features.shape, generator=torch.Generator().manual_seed(1))
    return torch.autograd.grad((features.float() * weight).sum(), ctx)[0]


def error(ours, theirs):
    ours, theirs = ours.detach(), theirs.detach()
    return float((ours - theirs).abs().max() / theirs.abs().max())


def in_precision(clip_model, dtype):
    return build_clip(clip_model.state_dict(), dtype, "the test")


@pytest.mark.parametrize("csc", [False, True])
@pytest.mark.parametrize("position", ["end", "middle", "front"])
def test_truncated_equals_clip_itself_on_77_tokens(position, csc, clip_model):
    learner = PromptLearner(NAMES, clip_model, n_ctx=4, csc=csc, position=position)
    ours = TextEncoder(clip_model)(learner(), learner.eot)
    theirs = ends(clips_own(learner(), clip_model), learner.eot)
    assert torch.allclose(ours, theirs, atol=2e-6)
    assert error(gradient(ours, learner.ctx), gradient(theirs, learner.ctx)) < 1e-4


@pytest.mark.parametrize(("position", "shared"), [("end", 5), ("end", 2), ("middle", 3)])
def test_shared_prefix_equals_whole_prompts(position, shared, vit):
    learner = PromptLearner(NAMES, vit, n_ctx=4, position=position)
    encoder = TextEncoder(vit)
    whole = encoder(learner(), learner.eot)
    prefixed = encoder(learner(), learner.eot, shared)
    assert torch.allclose(prefixed, whole, atol=2e-6)
    assert error(gradient(prefixed, learner.ctx), gradient(whole, learner.ctx)) < 1e-4


def test_one_prompt_can_be_all_prefix_but_its_name(vit):
    learner = PromptLearner(["cat"], vit, n_ctx=4)
    encoder = TextEncoder(vit)
    prefixed = encoder(learner(), learner.eot, learner.shared_prefix)
    assert torch.allclose(prefixed, encoder(learner(), learner.eot), atol=2e-6)


@pytest.mark.parametrize("layers", [1, 3])
def test_reading_the_end_token_alone_equals_transforming_every_row(layers):
    clip_model = random_clip(layers=layers)
    learner = PromptLearner(NAMES, clip_model, n_ctx=4, csc=True)
    ours = TextEncoder(clip_model)(learner(), learner.eot)
    theirs = ends(clips_own(learner(), clip_model), learner.eot)
    assert torch.allclose(ours, theirs, atol=2e-6)
    assert error(gradient(ours, learner.ctx), gradient(theirs, learner.ctx)) < 1e-4


def test_plain_texts_equal_encode_text(clip_model):
    tokens = tokenize(TEXTS)
    theirs = clip_model.encode_text(tokens)
    ours = TextEncoder(clip_model).encode_tokens(tokens)
    assert torch.allclose(ours, theirs / theirs.norm(dim=-1, keepdim=True), atol=2e-6)


def test_views_are_every_position_up_to_the_end(clip_model):
    tokens = tokenize(TEXTS)
    eot = end_positions(tokens)
    views = TextEncoder(clip_model).encode_views(tokens)
    theirs = clips_own(clip_model.token_embedding(tokens), clip_model)
    assert views.local_features.shape == (3, int(eot.max()) + 1, 32)
    assert torch.allclose(views.local_features, theirs[:, : int(eot.max()) + 1], atol=2e-6)
    assert torch.equal(views.global_features, ends(views.local_features, eot))
    assert views.mask.sum(dim=1).tolist() == (eot + 1).tolist()
    assert all(mask[: end + 1].all() for mask, end in zip(views.mask, eot, strict=True))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    ("dtype", "values", "gradients"), [(torch.bfloat16, 2e-2, 0.1), (torch.float16, 3e-3, 0.02)]
)
def test_16_bit_towers_are_close_and_closer_than_clips_own(dtype, values, gradients, shared, vit):
    learner = PromptLearner(NAMES, vit, n_ctx=4)
    truth = ends(clips_own(learner(), vit), learner.eot)
    true_gradient = gradient(truth, learner.ctx)
    small = in_precision(vit, dtype)
    ours = TextEncoder(small)(learner(), learner.eot, learner.shared_prefix if shared else 0)
    assert ours.dtype is torch.float32
    clips = ends(clips_own(learner(), small), learner.eot)
    assert error(ours, truth) < values
    assert error(gradient(ours, learner.ctx), true_gradient) < gradients
    assert (ours - truth).norm() < (clips.float() - truth).norm()


def test_frozen_weights_get_no_gradient(vit):
    learner = PromptLearner(NAMES, vit, n_ctx=4)
    encoder = TextEncoder(vit)
    encoder(learner(), learner.eot, learner.shared_prefix).sum().backward()
    assert learner.ctx.grad is not None
    assert all(parameter.grad is None for parameter in vit.parameters())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


@pytest.mark.parametrize("shared", [0, 5])
def test_no_shape_depends_on_data(shared, vit):
    """So a CUDA graph can capture it: tensors without data refuse to be read."""
    learner = PromptLearner(NAMES, vit, n_ctx=4)
    prompts = learner().detach().to("meta").requires_grad_()
    encoder = copy.deepcopy(TextEncoder(vit)).to("meta")
    features = encoder(prompts, learner.eot.to("meta"), shared)
    assert torch.autograd.grad(features.sum(), prompts)[0].shape == prompts.shape


def test_savings_in_arithmetic(vit):
    learner = PromptLearner(NAMES * 5, vit, n_ctx=16)
    encoder = TextEncoder(vit)

    def operations(encode):
        with FlopCounterMode(display=False) as counter:
            gradient(encode(), learner.ctx)
        return counter.get_total_flops()

    full = operations(lambda: ends(clips_own(learner(), vit), learner.eot))
    truncated = operations(lambda: encoder(learner(), learner.eot))
    prefixed = operations(lambda: encoder(learner(), learner.eot, learner.shared_prefix))
    assert truncated < 0.3 * full
    assert prefixed < 0.4 * truncated
