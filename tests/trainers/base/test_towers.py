from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from command_line import build_parser
from configuration import build_cfg
from modeling.clip.architecture import activation_of
from tests.helpers.models.foreign_names import hugging_faces
from tests.helpers.models.small_clip import openai_weights, random_clip
from trainers.base.options import own_options
from trainers.base.towers import load_towers
from trainers.coop import CoOpModel


@pytest.fixture
def folder(tmp_path):
    """A random CLIP as Hugging Face's hub has them, without a config."""
    save_file(hugging_faces(openai_weights(random_clip())), tmp_path / "model.safetensors")
    return tmp_path


def towers(folder, *words):
    arguments = ["--trainer", "CoOp", "--backbone", str(folder), "INPUT.SIZE", "(32, 32)", *words]
    cfg = build_cfg(build_parser().parse_intermixed_args(arguments))
    return load_towers(cfg, CoOpModel, own_options(cfg, "CoOp"), torch.device("cpu"))[0]


@pytest.mark.parametrize("activation", ["quickgelu", "gelu"])
def test_the_activation_of_the_config_reaches_the_towers(activation, folder, capsys):
    clip = towers(folder, "MODEL.BACKBONE.ACTIVATION", activation)
    assert activation_of(clip.clip_model) == activation
    printed = capsys.readouterr().out
    assert f"model.safetensors: Hugging Face CLIPModel weights, {activation}\n" in printed


def test_without_an_activation_the_option_is_asked_for(folder):
    with pytest.raises(ValueError, match="add MODEL.BACKBONE.ACTIVATION quickgelu"):
        towers(folder)


def test_another_normalisation_is_told_in_one_line(folder, capsys):
    colours = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(colours))
    words = ("MODEL.BACKBONE.ACTIVATION", "gelu")
    follow = ("INPUT.PIXEL_MEAN", "[0.5, 0.5, 0.5]", "INPUT.PIXEL_STD", "[0.5, 0.5, 0.5]")
    towers(folder, *words)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "normalises" in line]
    assert 'add: INPUT.PIXEL_MEAN "[0.5, 0.5, 0.5]" INPUT.PIXEL_STD "[0.5, 0.5, 0.5]"' in line
    towers(folder, *words, *follow)
    assert "normalises" not in capsys.readouterr().out


def test_the_tiny_clip_says_nothing(capsys):
    towers("tiny", "INPUT.SIZE", "(96, 96)")
    assert capsys.readouterr().out == ""
