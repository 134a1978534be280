from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from modeling.encoders.dense_image_encoder import DenseImageEncoder
from modeling.encoders.frozen_clip import FrozenClip, RegionOptions
from modeling.encoders.image_encoder import ImageEncoder
from modeling.encoders.image_views import (
    ResizableImageEncoder,
    View,
    ViewsEncoder,
    largest_size,
    parse_views,
)
from modeling.towers.image_tower import ImageTower
from tests.helpers.models.small_clip import RESOLUTION, random_clip

STRIDE = {"ViT": 8, "RN": 32}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", []),
        ("flip", [(32, 48, False), (32, 48, True)]),
        ("16 64", [(16, 16, False), (64, 64, False)]),
        ("64 flip 16", [(64, 64, False), (64, 64, True), (16, 16, False), (16, 16, True)]),
    ],
)
def test_words_of_views(words, expected):
    views = parse_views(words, (32, 48))
    assert [(view.height, view.width, view.mirrored) for view in views] == expected
    assert largest_size(views, (32, 48)) == ((64, 64) if "64" in words else (32, 48))


@pytest.mark.parametrize("words", ["flop", "flip flip", "96 96", "-3", "0", "1.5"])
def test_other_words_are_refused(words):
    with pytest.raises(ValueError, match=f"each once, got '{words}'"):
        parse_views(words, (32, 32))


def images_and_views(tower):
    """Images in the size of the larger views, and four views."""
    large = RESOLUTION[tower] + STRIDE[tower]
    generator = torch.Generator().manual_seed(0)
    sides = (RESOLUTION[tower], large)
    views = [View(side, side, mirrored) for side in sides for mirrored in (False, True)]
    return torch.randn(2, 3, large, large, generator=generator), views


def seen_apart(encoder, images, view):
    """A view's features, resized by PyTorch and mirrored pixel by pixel."""
    shape = (view.height, view.width)
    seen = F.interpolate(images, shape, mode="bicubic", antialias=True)
    if view.mirrored:
        seen = seen[..., torch.arange(view.width - 1, -1, -1)]
    return encoder(seen)


def assert_close(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("mean_token", [False, True])
def test_a_bag_holds_the_regions_of_views_that_were_encoded_apart(tower, mean_token):
    encoder = DenseImageEncoder(random_clip(tower), mean_token=mean_token and tower == "RN")
    images, views = images_and_views(tower)
    bag = ViewsEncoder(encoder, views, in_one_bag=True)
    found, apart = bag(images), [seen_apart(encoder, images, view) for view in views]
    assert bag.regions() == [features.local_features.shape[1] for features in apart]
    assert_close(found.local_features, torch.cat([f.local_features for f in apart], dim=1))
    mean = sum(features.global_features for features in apart) / 4
    assert_close(found.global_features, mean / mean.norm(dim=-1, keepdim=True))
    assert bag.split(found) == [found]


@pytest.mark.parametrize("regions", [False, True])
def test_views_beside_each_other_are_told_apart(tower, regions):
    kind = DenseImageEncoder if regions else ResizableImageEncoder
    encoder = kind(random_clip(tower))
    images, views = images_and_views(tower)
    several = ViewsEncoder(encoder, views, in_one_bag=False)
    found = several.split(several(images))
    assert len(found) == 4
    for features, view in zip(found, views, strict=True):
        expected = seen_apart(encoder, images, view)
        assert_close(features.global_features, expected.global_features)
        if regions:
            assert_close(features.local_features, expected.local_features)
        else:
            assert features.local_features is None


def test_oblong_views():
    encoder = DenseImageEncoder(random_clip())
    images = torch.randn(1, 3, 24, 40)
    views = [View(24, 40, True), View(16, 16)]
    found = ViewsEncoder(encoder, views, in_one_bag=True)(images)
    apart = [seen_apart(encoder, images, view).local_features for view in views]
    assert_close(found.local_features, torch.cat(apart, dim=1))


def test_a_tower_of_whole_images_takes_other_sizes(tower):
    clip_model, side = random_clip(tower), RESOLUTION[tower]
    encoder, large = ResizableImageEncoder(clip_model), side + STRIDE[tower]
    images = torch.randn(2, 3, side, side)
    own = ImageEncoder(clip_model)(images).global_features
    assert_close(encoder(images).global_features, own)
    images = torch.randn(2, 3, large, large)
    expected = DenseImageEncoder(clip_model)(images).global_features
    assert_close(encoder(images).global_features, expected)


def test_a_clip_without_views_encodes_evaluations_as_it_trains():
    clip = FrozenClip(random_clip(), regions=RegionOptions())
    assert clip.test_encoder is clip.image_encoder
    features = clip.encode_test_images(torch.randn(2, 3, 32, 32))
    assert clip.views_of(features) == [features]
    assert clip.first_view(features) == (features, None)


def test_what_does_not_fit_is_refused():
    views = parse_views("20", (32, 32))
    with pytest.raises(ValueError, match="20 pixels is no side .* every 8 pixels.*take 16 or 24"):
        FrozenClip(random_clip()).look_at_views(test=views)
    other = FrozenClip(random_clip())
    other.clip_model.visual = ImageTower(torch.nn.Identity(), 32)  # another library's
    other.look_at_views(test=parse_views("flip", (32, 32)))
    assert [view.mirrored for view in other.test_encoder.views] == [False, True]
    with pytest.raises(ValueError, match="takes pictures of 32 x 32 pixels alone"):
        other.look_at_views(test=parse_views("flip 40", (32, 32)))
    with pytest.raises(ValueError, match="needs a method that looks at regions"):
        FrozenClip(random_clip()).look_at_views(bag=parse_views("flip", (32, 32)))
