"""CLIPs of other libraries from files and folders, and the libraries' own features of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from modeling.clip.architecture import Architecture, activation_of
from modeling.clip.clip_file import read_clip
from modeling.clip.loader import load_clip, tokenize, weight_path
from modeling.encoders.dense_image_encoder import DenseImageEncoder
from modeling.encoders.image_encoder import ImageEncoder
from modeling.encoders.text_encoder import TextEncoder
from tests.helpers.models.foreign_names import custom_text, hugging_faces, native
from tests.helpers.models.small_clip import RESOLUTION, openai_weights, random_clip

OPTION = "MODEL.BACKBONE.ACTIVATION"
TEXTS = ["a cat", "two dogs and one rather long sentence", "x"]
WRITERS = {"hugging_faces": hugging_faces, "custom_text": custom_text, "native": native}
VISION, TEXT = {"width": 64, "layers": 2}, {"width": 64, "layers": 2, "heads": 1}
OPEN_CLIPS = {
    "embed_dim": 32,
    "vision_cfg": {**VISION, "image_size": 32, "patch_size": 8},
    "text_cfg": TEXT,
}


@pytest.fixture
def own(vit):
    return dict(vit.state_dict())


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("wrapper", ["", "state_dict", "model"])
def test_every_format_and_wrapper_gives_the_same_clip(write, wrapper, own, tmp_path, capsys):
    tensors = {f"module.{name}": value for name, value in write(own).items()}
    torch.save({wrapper: tensors, "epoch": 1} if wrapper else tensors, tmp_path / "clip.pt")
    loaded = load_clip(str(tmp_path / "clip.pt"), activation="quickgelu")
    assert all(torch.equal(value, own[name]) for name, value in loaded.state_dict().items())
    assert capsys.readouterr().out.startswith("clip.pt: ")


def test_openais_own_need_no_option_and_say_nothing(vit, tmp_path, capsys):
    torch.save(openai_weights(vit), tmp_path / "clip.pt")
    assert read_clip(tmp_path / "clip.pt").architecture == Architecture()
    load_clip(str(tmp_path / "clip.pt"))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_file_that_does_not_tell_its_activation_asks_for_it(write, own, tmp_path):
    save_file(write(own), tmp_path / "clip.safetensors")
    with pytest.raises(ValueError, match=f"{OPTION} quickgelu .*{OPTION} gelu .*backbones.md"):
        load_clip(str(tmp_path / "clip.safetensors"))
    for activation in ("quickgelu", "gelu"):
        loaded = load_clip(str(tmp_path / "clip.safetensors"), activation=activation)
        assert activation_of(loaded) == activation


def test_a_misspelt_activation_gets_the_nearest(vit, tmp_path):
    torch.save(openai_weights(vit), tmp_path / "clip.pt")
    with pytest.raises(ValueError, match=f"{OPTION} must be .* Did you mean 'quickgelu'"):
        load_clip(str(tmp_path / "clip.pt"), activation="quick_gelu")


def test_the_config_beside_a_file_counts_and_the_option_overrules_it(own, tmp_path):
    save_file(native(own), tmp_path / "open_clip_model.safetensors")
    config = {"model_cfg": OPEN_CLIPS}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    read = read_clip(tmp_path / "open_clip_model.safetensors")
    assert read.architecture.activation == "gelu"
    assert read.note == (
        "open_clip_model.safetensors: OpenAI or open_clip weights, gelu, open_clip_config.json"
    )
    read = read_clip(tmp_path / "open_clip_model.safetensors", "quickgelu")
    assert read.architecture.activation == "quickgelu"


def test_a_config_of_another_model_is_refused(own, tmp_path):
    save_file(native(own), tmp_path / "open_clip_model.safetensors")
    config = {**OPEN_CLIPS, "text_cfg": {**TEXT, "layers": 3}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="text layers 3 there, 2 in the weights"):
        load_clip(str(tmp_path))


@pytest.mark.parametrize("name", ["model.safetensors", "open_clip_pytorch_model.bin"])
def test_a_folder_stands_for_the_weights_in_it(name, own, tmp_path):
    save = save_file if name.endswith("safetensors") else torch.save
    save(custom_text(own), tmp_path / name)
    assert weight_path(str(tmp_path)) == tmp_path / name
    assert load_clip(str(tmp_path), activation="gelu").visual.input_resolution == 32


def test_a_folder_without_weights_says_what_it_looked_for(tmp_path):
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="none of open_clip_model.*parts such as model-00001"):
        weight_path(str(tmp_path))


def test_a_wide_tower_without_a_config_asks_for_its_heads(tmp_path):
    wide = dict(random_clip().state_dict())
    for name, value in wide.items():
        if name == "visual.conv1.weight":
            wide[name] = torch.zeros(1280, *value.shape[1:])
    torch.save(wide, tmp_path / "clip.pt")
    with pytest.raises(ValueError, match="number of heads .* width is 1280.*open_clip_config.json"):
        read_clip(tmp_path / "clip.pt", "gelu")


def test_a_bias_of_logits_is_left_out_and_told(own, tmp_path):
    torch.save({**own, "logit_bias": torch.tensor(-10.0)}, tmp_path / "clip.pt")
    read = read_clip(tmp_path / "clip.pt", "gelu")
    assert "logit_bias" not in read.state_dict and "logit_bias is not used" in read.note


def test_siglip_is_refused_as_such(tmp_path):
    names = ("visual.trunk.pos_embed", "text.ln_final.bias", "logit_bias")
    torch.save({name: torch.zeros(1) for name in names}, tmp_path / "clip.pt")
    with pytest.raises(ValueError, match="clip.pt does not hold a CLIP .* as SigLIP has"):
        load_clip(str(tmp_path / "clip.pt"))


class TestLibraries:
    """Features of images and texts equal those of the library that wrote the file."""

    @pytest.mark.parametrize("suffix", ["safetensors", "bin"])
    @pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
    def test_hugging_face(self, activation, suffix, tmp_path):
        transformers = pytest.importorskip("transformers", reason="transformers is not installed")
        shared = {"num_hidden_layers": 2, "hidden_act": activation}
        config = transformers.CLIPConfig(
            projection_dim=24,
            text_config={
                **shared,
                "hidden_size": 64,
                "num_attention_heads": 4,
                "intermediate_size": 160,
                "layer_norm_eps": 1e-3,
            },
            vision_config={
                **shared,
                "hidden_size": 128,
                "num_attention_heads": 8,
                "intermediate_size": 192,
                "layer_norm_eps": 1e-4,
                "image_size": 32,
                "patch_size": 8,
            },
        )
        theirs = shaken(transformers.CLIPModel(config))
        theirs.save_pretrained(tmp_path)
        if suffix == "bin":  # as libraries of before 2023 saved it
            (tmp_path / "model.safetensors").unlink()
            torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
        ours = load_clip(str(tmp_path))
        images, tokens = torch.rand(3, 3, 32, 32), tokenize(TEXTS)
        assert_features(ours, images, theirs.get_image_features, tokens, theirs.get_text_features)

    @pytest.mark.parametrize("tower", ["ViT", "RN"])
    @pytest.mark.parametrize("custom", [False, True])
    @pytest.mark.parametrize("quick", [False, True])
    def test_open_clip(self, quick, custom, tower, tmp_path):
        open_clip = pytest.importorskip("open_clip", reason="open_clip_torch is not installed")
        side = RESOLUTION[tower]
        vision = {
            "ViT": {
                "width": 128,
                "layers": 2,
                "head_width": 16,
                "mlp_ratio": 2.5,
                "patch_size": 8,
                "norm_kwargs": {"eps": 1e-4},
            },
            "RN": {"width": 8, "layers": [1, 1, 1, 1], "head_width": 32},
        }[tower]
        config = {
            "embed_dim": 24,
            "quick_gelu": quick,
            "vision_cfg": {**vision, "image_size": side},
            "text_cfg": {"width": 64, "heads": 4, "layers": 2, "norm_kwargs": {"eps": 1e-3}},
        }
        kind = open_clip.CustomTextCLIP if custom else open_clip.CLIP
        theirs = shaken(kind(**config))
        save_file(theirs.state_dict(), tmp_path / "open_clip_model.safetensors")
        write_open_clips_config(theirs, tmp_path, config)
        ours = load_clip(str(tmp_path))
        images, tokens = torch.rand(3, 3, side, side), tokenize(TEXTS)
        assert_features(ours, images, theirs.encode_image, tokens, theirs.encode_text)


def shaken(model):
    """The model with no parameter or statistic left at 0 or 1, so that each one counts."""
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                noise = 0.05 * torch.randn_like(value)
                value += noise.abs() if name.endswith("running_var") else noise
    return model.eval()


def write_open_clips_config(model, folder: Path, config):
    """With the library's own function."""
    from open_clip.push_to_hf_hub import save_config_for_hf

    model.visual.image_mean, model.visual.image_std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    save_config_for_hf(model, folder / "open_clip_config.json", config)


def assert_features(ours, images, encode_images, tokens, encode_texts):
    with torch.no_grad():
        wanted = [encode_images(images), encode_texts(tokens)]
    wanted = [getattr(features, "pooler_output", features) for features in wanted]
    found = [ours.encode_image(images), ours.encode_text(tokens)]
    for plain, expected in zip(found, wanted, strict=True):
        torch.testing.assert_close(plain, expected, atol=1e-5, rtol=1e-5)
    image, text = (torch.nn.functional.normalize(features, dim=-1) for features in wanted)
    for encoder in (ImageEncoder(ours), DenseImageEncoder(ours)):
        own = encoder(images).global_features
        torch.testing.assert_close(own, image, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(TextEncoder(ours).encode_tokens(tokens), text, atol=1e-5, rtol=1e-5)
