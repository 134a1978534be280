"""Configs as Hugging Face and open_clip write them, without the libraries."""

from __future__ import annotations

import json

import pytest

from modeling.clip.architecture import Architecture, Tower, sizes_of
from modeling.clip.configs import config_beside, normalisation_note
from modeling.clip.formats import CUSTOM_TEXT, HUGGING_FACE, NATIVE
from tests.helpers.models.small_clip import random_clip

HUGGING_FACES = {
    "model_type": "clip",
    "projection_dim": 32,
    "vision_config": {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 8,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-6,
    },
    "text_config": {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "hidden_act": "gelu",
        "eos_token_id": 49407,
    },
}
OPEN_CLIPS = {
    "model_cfg": {
        "embed_dim": 32,
        "vision_cfg": {
            "image_size": 32,
            "layers": 2,
            "width": 64,
            "patch_size": 8,
            "head_width": 16,
            "norm_kwargs": {"eps": 1e-6},
        },
        "text_cfg": {"width": 64, "heads": 2, "layers": 2},
    },
    "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
}
CONTENTS = {"config.json": HUGGING_FACES, "open_clip_config.json": OPEN_CLIPS}


def beside(tmp_path, content, source):
    (tmp_path / source.config).write_text(json.dumps(content))
    return config_beside(tmp_path / "weights.bin", source)


def changed(content, place, value):
    """A copy of nested dicts with another value at `a.b.c`; None takes the key away."""
    content = json.loads(json.dumps(content))
    *parents, last = place.split(".")
    inner = content
    for name in parents:
        inner = inner[name]
    inner[last] = value
    if value is None:
        del inner[last]
    return content


@pytest.mark.parametrize("source", [HUGGING_FACE, NATIVE, CUSTOM_TEXT])
def test_both_libraries_say_the_same(source, tmp_path):
    config = beside(tmp_path, CONTENTS[source.config], source)
    assert config.architecture == Architecture("gelu", Tower(4, 1e-6), Tower(2, 1e-5))
    config.check_sizes(sizes_of(random_clip("ViT").state_dict()))


def test_what_is_left_out_is_the_librarys_default(tmp_path):
    config = beside(tmp_path, {"vision_config": {}, "text_config": {}}, HUGGING_FACE)
    assert config.architecture == Architecture("quickgelu", Tower(12), Tower(8))
    assert config.sizes["patch_size"] == 32 and config.sizes["context_length"] == 77
    config = beside(tmp_path, {"vision_cfg": {}, "text_cfg": {}, "quick_gelu": True}, NATIVE)
    assert config.architecture == Architecture("quickgelu", Tower(12), Tower(8))


def test_the_second_section_of_old_configs_counts(tmp_path):
    old = {**HUGGING_FACES, "vision_config_dict": {"hidden_act": "quick_gelu"}}
    old["text_config_dict"] = {"hidden_act": "quick_gelu"}
    assert beside(tmp_path, old, HUGGING_FACE).architecture.activation == "quickgelu"


def test_a_resnets_heads_are_those_of_its_last_map(tmp_path):
    resnet = changed(OPEN_CLIPS, "model_cfg.vision_cfg.layers", [1, 1, 1, 1])
    resnet = changed(resnet, "model_cfg.vision_cfg.width", 8)
    config = beside(tmp_path, resnet, NATIVE)
    assert config.architecture.image.heads == 8 * 32 // 16
    assert config.sizes["image_layers"] == (1, 1, 1, 1)


def test_configs_of_something_else_do_not_count(tmp_path):
    assert config_beside(tmp_path / "weights.bin", NATIVE) is None
    for content in ({}, [], {"model_type": "bert"}, {"vision_config": {}}):
        assert beside(tmp_path, content, HUGGING_FACE) is None
        assert beside(tmp_path, content, NATIVE) is None


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("vision_config.hidden_act", ["gelu"], "hidden_act is .*, expected quick_gelu or gelu"),
        ("vision_config.layer_norm_eps", float("nan"), "layer_norm_eps is nan, expected"),
        ("vision_config.hidden_act", "silu", "hidden_act is silu, expected quick_gelu or gelu"),
        ("text_config.hidden_act", "quick_gelu", "expected gelu, as in the image tower"),
        ("text_config.eos_token_id", 7, "text_config.eos_token_id is 7, expected 49407"),
        ("vision_config.hidden_size", "64", "hidden_size is 64, expected a positive number"),
        ("vision_config.num_attention_heads", 0, "num_attention_heads is 0, expected a positive"),
        ("text_config.num_attention_heads", True, "num_attention_heads is True"),
        ("text_config.num_attention_heads", 2.5, "num_attention_heads is 2.5"),
        ("vision_config.image_size", [32, 16], r"image_size is \[32, 16\], expected one number"),
    ],
)
def test_wrong_values_of_hugging_faces_are_named(place, value, message, tmp_path):
    with pytest.raises(ValueError, match=f"config.json: .*{message}"):
        beside(tmp_path, changed(HUGGING_FACES, place, value), HUGGING_FACE)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("vision_cfg.pool_type", "avg", "vision_cfg.pool_type is avg, expected tok"),
        ("text_cfg.pool_type", "last", "text_cfg.pool_type is last, expected argmax"),
        ("text_cfg.no_causal_mask", True, "no_causal_mask is True, expected False"),
        ("text_cfg.act_kwargs", {"approximate": "tanh"}, "act_kwargs is .*tanh.*, expected None"),
        ("vision_cfg.norm_kwargs", {"bias": False}, "norm_kwargs is .*, expected eps alone"),
        ("text_cfg.heads", -1, "text_cfg.heads is -1, expected a positive number"),
    ],
)
def test_what_a_clip_cannot_do_is_named(place, value, message, tmp_path):
    with pytest.raises(ValueError, match=f"open_clip_config.json: .*{message}"):
        beside(tmp_path, changed(OPEN_CLIPS, f"model_cfg.{place}", value), NATIVE)


def test_a_switch_is_true_or_false(tmp_path):
    with pytest.raises(ValueError, match="model_cfg.quick_gelu is no, expected true or false"):
        beside(tmp_path, changed(OPEN_CLIPS, "model_cfg.quick_gelu", "no"), NATIVE)


def test_a_config_of_other_sizes_is_of_another_model(tmp_path):
    config = beside(
        tmp_path, changed(HUGGING_FACES, "vision_config.image_size", [64, 64]), HUGGING_FACE
    )
    with pytest.raises(ValueError, match="image size 64 there, 32 in the weights"):
        config.check_sizes(sizes_of(random_clip("ViT").state_dict()))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("preprocessor_config.json", {"image_mean": [0.5] * 3, "image_std": [0.25] * 3}),
        ("open_clip_config.json", OPEN_CLIPS),
    ],
)
def test_another_normalisation_is_told_with_the_words_to_add(name, content, tmp_path):
    weights = tmp_path / "model.safetensors"
    assert normalisation_note(weights, [0.1] * 3, [0.2] * 3) == ""
    (tmp_path / name).write_text(json.dumps(content))
    note = normalisation_note(weights, [0.1] * 3, [0.25] * 3)
    assert name in note and 'INPUT.PIXEL_MEAN "[0.5, 0.5, 0.5]"' in note
    assert 'INPUT.PIXEL_STD "[0.25, 0.25, 0.25]"' in note and "\n" not in note
    assert normalisation_note(weights, [0.50001] * 3, [0.25] * 3) == ""


def test_a_preprocessor_without_colours_says_nothing(tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": "grey"}))
    assert normalisation_note(tmp_path / "model.safetensors", [0.1] * 3, [0.2] * 3) == ""
