from __future__ import annotations

import importlib

import pytest
import torch
import torch.nn.functional as F

from modeling.clip.loader import import_clip, load_clip
from modeling.encoders.dense_image_encoder import DenseImageEncoder
from modeling.encoders.image_encoder import ImageEncoder
from tests.helpers.models.small_clip import RESOLUTION, TOWERS, openai_weights, random_clip


def pictures(height, width, count=2):
    return torch.randn(count, 3, height, width)


def published_geometry(tower):
    """A CLIP with the published stride and resolution (224), and next to no width."""
    import_clip()
    vision = {"RN": ((1, 1, 1, 1), 8, None), "ViT": (1, 64, 16)}[tower]
    clip_model = importlib.import_module("clip.model").CLIP(16, 224, *vision, 77, 10, 64, 1, 1)
    return clip_model.requires_grad_(False).eval()


def last_map(visual, images):
    """Input of the attention pool [B, W, h, w], caught while CLIP runs by itself."""
    caught = []
    handle = visual.attnpool.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    visual(images)
    handle.remove()
    return caught[0]


OPTIONS = {
    "ViT": [{}, {"vit": "last"}],
    "RN": [{}, {"pos_embed": True, "mean_token": True}],
}


def test_global_feature_is_clips_own(tower, clip_model):
    images = pictures(RESOLUTION[tower], RESOLUTION[tower])
    expected = F.normalize(clip_model.encode_image(images), dim=-1)
    torch.testing.assert_close(ImageEncoder(clip_model)(images).global_features, expected)
    for options in OPTIONS[tower]:
        views = DenseImageEncoder(clip_model, **options)(images)
        torch.testing.assert_close(views.global_features, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pos_embed", [False, True])
@pytest.mark.parametrize("mean_token", [False, True])
def test_resnet_regions_equal_a_loop_over_cells(pos_embed, mean_token):
    clip_model = random_clip("RN")
    images, pool = pictures(64, 64), clip_model.visual.attnpool
    cells = last_map(clip_model.visual, images)  # [B, W, 2, 2]
    views = DenseImageEncoder(clip_model, pos_embed, mean_token)(images)
    for b in range(len(images)):
        tokens = [cells[b].mean(dim=(1, 2))] if mean_token else []
        tokens += [cells[b, :, i, j] for i in range(2) for j in range(2)]
        first = 0 if mean_token else 1
        for r, token in enumerate(tokens):
            token = token + pool.positional_embedding[first + r] if pos_embed else token
            expected = F.normalize(pool.c_proj(pool.v_proj(token)), dim=0)
            torch.testing.assert_close(views.local_features[b, r], expected, rtol=1e-4, atol=1e-5)


def test_projected_mean_is_the_mean_of_projected_cells():
    """Both projections are affine, so that before normalisation they commute with the mean."""
    clip_model = random_clip("RN")
    encoder = DenseImageEncoder(clip_model, mean_token=True)
    _, regions = encoder._resnet(pictures(96, 64))  # [B, 1 + 6, D]
    torch.testing.assert_close(regions[:, 0], regions[:, 1:].mean(dim=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("vit", ["value", "last"])
def test_vit_regions_equal_a_loop_over_patches(vit):
    clip_model = random_clip("ViT")
    images, visual = pictures(32, 32), clip_model.visual
    *blocks, block = visual.transformer.resblocks
    x = visual.conv1(images).flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], 1)
    x = visual.ln_pre(x + visual.positional_embedding).transpose(0, 1)
    for other in blocks:
        x = other(x)
    views = DenseImageEncoder(clip_model, vit=vit)(images)
    width = x.shape[-1]
    whole = block(x)
    for b in range(len(images)):
        for r in range(1, len(x)):
            y = whole[r, b]
            if vit == "value":
                value = block.attn.in_proj_weight[2 * width :] @ block.ln_1(x[r, b])
                value = value + block.attn.in_proj_bias[2 * width :]
                y = x[r, b] + block.attn.out_proj(value)
                y = y + block.mlp(block.ln_2(y))
            expected = F.normalize(visual.ln_post(y) @ visual.proj, dim=0)
            actual = views.local_features[b, r - 1]
            torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(224, 224), (448, 448), (224, 448)])
@pytest.mark.parametrize("tower", TOWERS)
def test_as_many_regions_as_strides_fit(tower, size):
    encoder = DenseImageEncoder(published_geometry(tower), mean_token=tower == "RN")
    stride, more = {"RN": (32, 1), "ViT": (16, 0)}[tower]
    encoder.check_input_size(*size)
    views = encoder(pictures(*size, count=1))
    assert encoder.stride == stride
    assert views.local_features.shape == (1, size[0] * size[1] // stride**2 + more, 16)
    assert views.global_features.shape == (1, 16)
    norms = views.local_features.norm(dim=-1)
    torch.testing.assert_close(norms, torch.ones_like(norms))


def test_regions_follow_the_picture():
    """A change in one corner is felt most by the region that lies there."""
    for tower in TOWERS:
        side = RESOLUTION[tower]
        encoder = DenseImageEncoder(random_clip(tower))
        images = pictures(side, 2 * side, count=1)
        changed = images.clone()
        changed[..., -encoder.stride // 2 :, -encoder.stride // 2 :] += 3
        before, after = (encoder(x).local_features[0] for x in (images, changed))
        assert (before - after).norm(dim=-1).argmax() == len(before) - 1, tower


def test_positions_are_resized_once_and_the_first_is_kept():
    encoder = DenseImageEncoder(random_clip("RN"))  # a grid of 2 x 2
    embedding = torch.randn(5, 3)
    assert torch.equal(encoder._positions(embedding, (2, 2)), embedding)
    wide = encoder._positions(embedding, (2, 4))
    assert torch.equal(wide[0], embedding[0]) and wide.shape == (9, 3)
    flat = encoder._positions(torch.ones(5, 3), (3, 5))
    torch.testing.assert_close(flat, torch.ones(16, 3))  # a bicubic kernel sums to one
    torch.testing.assert_close(wide[1:5].mean(0) + wide[5:].mean(0), embedding[1:].mean(0) * 2)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_low_precision_weights(tower, precision, tmp_path):
    torch.save(openai_weights(random_clip(tower)), tmp_path / "clip.pt")
    images = pictures(2 * RESOLUTION[tower], RESOLUTION[tower])
    exact, rough = (
        DenseImageEncoder(load_clip(str(tmp_path / "clip.pt"), p))(images)
        for p in ("fp32", precision)
    )
    assert rough.local_features.dtype is torch.float32
    for a, b in (
        (exact.local_features, rough.local_features),
        (exact.global_features, rough.global_features),
    ):
        assert ((a * b).sum(dim=-1) > 0.999).all()


def test_sizes_that_the_stride_does_not_divide_are_refused():
    encoder = DenseImageEncoder(random_clip("RN"))
    encoder.check_input_size(96, 320)
    with pytest.raises(ValueError, match=r'\(64, 96\)" or INPUT.SIZE "\(96, 96\)"'):
        encoder.check_input_size(65, 96)
    with pytest.raises(ValueError, match=r'region every 32 pixels.*Add: INPUT.SIZE "\(32, 32\)"$'):
        encoder.check_input_size(20, 32)
    with pytest.raises(ValueError, match=r"takes pictures of 64 x 64 pixels.*\(96, 96\)"):
        ImageEncoder(random_clip("RN")).check_input_size(96, 96)


def test_options_of_the_other_tower_are_refused():
    with pytest.raises(ValueError, match="are a ResNet's"):
        DenseImageEncoder(random_clip("ViT"), mean_token=True)
    with pytest.raises(ValueError, match="MODEL.DENSE.VIT must be one of value, last"):
        DenseImageEncoder(random_clip("ViT"), vit="values")
