"""Regions of image towers, against the steps of their heads written out."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.nn.functional import normalize

from modeling.encoders.frozen_clip import FrozenClip, RegionOptions
from tests.helpers.models.small_towers import SIDE

assert_close = partial(torch.testing.assert_close, atol=1e-5, rtol=0)


def of_siglip(trunk, images):
    """What attention passes on where there is one patch alone: its projected value."""
    pool = trunk.attn_pool
    for patches in trunk.forward_features(images):
        rows = []
        for patch in patches:
            value = pool.kv(patch).chunk(2)[1]
            state = pool.proj(value)
            rows.append(state + pool.mlp(pool.norm(state)))
        yield torch.stack(rows)


def of_eva(trunk, images):
    """Patches as the last block leaves them, then the class token's norm and projection."""
    for tokens in trunk.forward_features(images):
        yield trunk.head(trunk.fc_norm(tokens[1:]))


def of_mobileclip(trunk, images):
    """Cells of the last map, each as if it were the mean over the map."""
    for cells in trunk.forward_features(images):  # [W, h, w]
        yield trunk.head.fc(cells.flatten(1).t())


@pytest.mark.parametrize(
    ("kind", "vit", "naive"),
    [
        ("siglip", "value", of_siglip),
        ("eva", "last", of_eva),
        ("mobileclip", "value", of_mobileclip),
    ],
)
def test_regions_are_what_the_head_makes_of_one_patch(kind, vit, naive, small_towers):
    clip = FrozenClip.load(str(small_towers.folder(kind)), regions=RegionOptions(vit=vit))
    images = torch.rand(2, 3, SIDE, SIDE)
    with torch.no_grad():
        found = clip.encode_images(images)
        expected = torch.stack([*naive(small_towers.model(kind).visual.trunk, images)])
        whole = FrozenClip.load(str(small_towers.folder(kind))).encode_images(images)
    assert_close(found.local_features, normalize(expected, dim=-1))
    assert_close(found.global_features, whole.global_features)
    assert clip.image_encoder.stride * int(expected.shape[1] ** 0.5) == SIDE


def test_a_siglip_of_hugging_faces_has_the_same_regions(small_towers):
    clip = FrozenClip.load(str(small_towers.folder("hf_siglip")), regions=RegionOptions())
    vision, images = small_towers.model("hf_siglip").vision_model, torch.rand(1, 3, SIDE, SIDE)
    with torch.no_grad():
        states = vision(pixel_values=images).last_hidden_state[0]  # [R, D]
        attention = vision.head.attention
        weight, bias = attention.in_proj_weight.chunk(3)[2], attention.in_proj_bias.chunk(3)[2]
        own = attention.out_proj(states @ weight.t() + bias)
        own = own + vision.head.mlp(vision.head.layernorm(own))
        assert_close(clip.encode_images(images).local_features[0], normalize(own, dim=-1))


@pytest.mark.parametrize(
    ("kind", "vit"), [("siglip", "last"), ("eva", "value"), ("hf_siglip", "last")]
)
def test_the_other_way_is_refused_with_the_one_there_is(kind, vit, small_towers):
    other = {"last": "value", "value": "last"}[vit]
    with pytest.raises(ValueError, match=f"no regions of MODEL.DENSE.VIT {vit}. Add: .* {other}$"):
        FrozenClip.load(str(small_towers.folder(kind)), regions=RegionOptions(vit=vit))


def test_options_of_clips_resnets_are_refused(small_towers):
    with pytest.raises(ValueError, match="MEAN_TOKEN are for the ResNets of CLIP"):
        FrozenClip.load(str(small_towers.folder("siglip")), regions=RegionOptions(mean_token=True))


def test_a_tower_without_regions_says_which_methods_do_without(small_towers):
    with pytest.raises(ValueError, match="VisionTransformer.* has no regions .* LinearProbe"):
        FrozenClip.load(str(small_towers.folder("clipa")), regions=RegionOptions())


def test_another_size_of_images_is_refused_with_the_one_there_is(small_towers):
    clip = FrozenClip.load(str(small_towers.folder("siglip")), regions=RegionOptions())
    with pytest.raises(ValueError, match=r'INPUT.SIZE "\(32, 32\)"'):
        clip.image_encoder.check_input_size(64, 64)
