from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from modeling.clip.loader import tokenize
from modeling.encoders.text_encoder import TextEncoder
from modeling.tuning.towers import IMAGE, TEXT, chosen_towers, tower_of
from tests.helpers.models.small_clip import random_clip
from tests.helpers.runs.tuned_towers import TEXT_KINDS, let_learn, tuned

TEXTS = ["a photo of a cat.", "two dogs and one rather long sentence", "x"]


def tuned_text(kind):
    clip_model = random_clip()
    return clip_model, tuned(tower_of(clip_model, TEXT), kind)


@pytest.mark.parametrize("kind", TEXT_KINDS)
def test_a_tuned_text_tower_starts_as_the_frozen_one(kind):
    tokens = tokenize(TEXTS)
    frozen = TextEncoder(random_clip()).encode_tokens(tokens)
    clip_model, part = tuned_text(kind)
    encoder = TextEncoder(clip_model)
    assert torch.allclose(encoder.encode_tokens(tokens), frozen, atol=1e-6, rtol=0)
    let_learn(part)  # of the encoder that is there already
    assert not torch.allclose(encoder.encode_tokens(tokens), frozen, atol=1e-3)


@pytest.mark.parametrize("kind", TEXT_KINDS)
def test_what_is_tuned_counts_as_in_clips_own_forward_pass(kind):
    clip_model, part = tuned_text(kind)
    for parameter in clip_model.transformer.parameters():
        parameter.data /= 4  # rounding stays small, so that gradients compare
    encoder, tokens = TextEncoder(clip_model), tokenize(TEXTS)
    let_learn(part)
    expected = F.normalize(clip_model.encode_text(tokens), dim=-1)
    found = encoder.encode_tokens(tokens)
    assert torch.allclose(found, expected, atol=1e-5)
    weight = torch.randn(found.shape, generator=torch.Generator().manual_seed(2))
    names, parameters = zip(*part.named_parameters(), strict=True)
    ours, theirs = (
        torch.autograd.grad((features * weight).sum(), parameters) for features in (found, expected)
    )
    # One bound for all: keys' biases have no gradient but rounding.
    bound = 1e-4 * max(float(gradient.abs().max()) for gradient in theirs)
    for name, one, other in zip(names, ours, theirs, strict=True):
        assert float((one - other).abs().max()) <= bound, name
    assert not any(p.requires_grad for p in clip_model.visual.parameters())
    ours = {id(parameter) for parameter in parameters}
    assert {id(p) for p in clip_model.parameters() if p.requires_grad} == ours


def test_parts_of_the_text_tower_have_clips_names():
    clip_model = random_clip()
    names = set(tower_of(clip_model, TEXT).state_dict())
    whole = set(clip_model.state_dict())
    left_out = {"positional_embedding", "token_embedding.weight", "logit_scale"}
    assert names == {name for name in whole - left_out if not name.startswith("visual.")}
    block = {name for name in names if name.startswith("transformer.resblocks.1.")}
    last = set(tuned_text("last_blocks")[1].state_dict())
    assert last == block | {"ln_final.weight", "ln_final.bias", "text_projection"}


def test_a_name_stands_for_one_or_both_towers():
    assert [chosen_towers(name) for name in (IMAGE, TEXT, "both")] == [
        (IMAGE,),
        (TEXT,),
        (IMAGE, TEXT),
    ]
