"""Tables of names, without the libraries that they are of."""

from __future__ import annotations

import pytest
import torch

from modeling.clip.formats import (
    CUSTOM_TEXT,
    HUGGING_FACE,
    NATIVE,
    openai_names,
    recognise,
    unwrapped,
)
from tests.helpers.models.foreign_names import custom_text, hugging_faces, native
from tests.helpers.models.small_clip import openai_weights, random_clip


@pytest.fixture
def own(clip_model):
    return dict(clip_model.state_dict())


def assert_same(found, expected):
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize(("write", "source"), [(custom_text, CUSTOM_TEXT), (native, NATIVE)])
def test_open_clips_names_become_openais(write, source, own):
    foreign = write(own)
    assert recognise(foreign) is source
    assert_same(openai_names(foreign, source), own)


def test_hugging_faces_names_become_openais(vit):
    own = dict(vit.state_dict())
    foreign = hugging_faces(own)
    assert recognise(foreign) is HUGGING_FACE
    assert_same(openai_names(foreign, HUGGING_FACE), own)


def test_what_is_no_weight_is_left_out(clip_model):
    more = {"attn_mask": torch.zeros(77, 77), "text.attn_mask": torch.zeros(77, 77)}
    found = openai_names({**openai_weights(clip_model), **more}, NATIVE)
    assert_same(found, clip_model.state_dict())


def test_wrappers_prefixes_are_dropped():
    wrapped = {"module._orig_mod.visual.proj": torch.ones(2), "_orig_mod.module": torch.ones(1)}
    assert sorted(unwrapped(wrapped)) == ["module", "visual.proj"]


def test_projections_may_be_linear_layers_and_scalars_may_have_a_dimension(vit):
    own = dict(vit.state_dict())
    foreign = custom_text(own)
    foreign["text.text_projection.weight"] = foreign.pop("text.text_projection").T
    foreign["visual.proj.weight"] = foreign.pop("visual.proj").T
    foreign["visual.class_embedding"] = foreign["visual.class_embedding"][None, None]
    foreign["logit_scale"] = foreign["logit_scale"][None]
    assert_same(openai_names(foreign, CUSTOM_TEXT), own)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["visual.trunk.cls_token", "logit_bias"], "timm's, and it has a logit_bias, as SigLIP"),
        (["visual.proj", "text.transformer.embeddings.LayerNorm.bias"], "language model"),
        (["vision_model.head.probe", "logit_bias"], "pools by attention, as SigLIP's"),
        (["visual.proj", "text_decoder.ln_final.bias"], "CoCa"),
        (["conv1.weight", "layer1.0.bn1.bias"], "none of Hugging Face CLIPModel, open_clip"),
    ],
)
def test_other_models_are_refused_by_what_they_are(names, message):
    with pytest.raises(ValueError, match=message):
        recognise({name: torch.zeros(1) for name in names})


def test_names_that_meet_are_refused():
    own = random_clip().state_dict()
    with pytest.raises(ValueError, match="holds ln_final.bias twice"):
        openai_names({**custom_text(own), "ln_final.bias": own["ln_final.bias"]}, CUSTOM_TEXT)


def test_queries_keys_and_values_must_fit_together(vit):
    foreign = hugging_faces(dict(vit.state_dict()))
    name = "text_model.encoder.layers.1.self_attn.k_proj.bias"
    for damaged in (None, torch.zeros(3), torch.zeros(64, dtype=torch.float16)):
        kept = {n: value for n, value in foreign.items() if n != name}
        if damaged is not None:
            kept[name] = damaged
        with pytest.raises(ValueError, match="transformer.resblocks.1.attn.in_proj_bias"):
            openai_names(kept, HUGGING_FACE)
