from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from yacs.config import CfgNode

from loading.transforms import evaluation_transform
from prediction.region_maps import (
    draw_map,
    looks_at_regions,
    region_cosines,
    region_map,
    seen_part,
)
from tests.helpers.runs.untrained_runs import a_picture, untrained
from tests.helpers.sets.small_set import NAMES

WEIGHT = 0.3


def dot(one, other):
    return sum(a * b for a, b in zip(one.tolist(), other.tolist(), strict=True))


def dualcoop(whole, region, text, c):
    positive, negative = text
    return dot(region, positive[c]) - dot(region, negative[c])


def dualcoop_plus(whole, region, text, c):
    """The positive prompt's part is multiplied by its share of the winner's in a softmax."""
    _, positive, negative = text
    own = [dot(region, one) for one in positive]
    shares = [math.exp(200 * max(own) * one) for one in own]
    return own[c] * shares[c] / max(shares) - dot(region, negative[c])


def tarp(whole, region, text, c):
    """The mean of three looks, of adapters that move nothing yet."""
    looks = [text[0][k * len(NAMES) + c] for k in range(3)]
    return sum(dot(region, look) for look in looks) / 3


def one_prompt(whole, region, text, c):
    return (1 - WEIGHT) * dot(whole, text[c]) + WEIGHT * dot(region, text[c])


def two_prompts(whole, region, text, c):
    of_whole, of_regions = text
    return (1 - WEIGHT) * dot(whole, of_whole[c]) + WEIGHT * dot(region, of_regions[c])


METHODS = {  # words beside the method's name, and its similarity of one class to one region
    "DualCoOp": ((), dualcoop),
    "DualCoOpPP": ((), dualcoop_plus),
    "TARP": (("TRAINER.TARP.ADAPTER", "6"), tarp),
    "CoOp": (("TRAINER.COOP.REGION_WEIGHT", str(WEIGHT)), one_prompt),
    "ZeroshotCLIP": (("TRAINER.ZEROSHOTCLIP.REGION_WEIGHT", str(WEIGHT)), one_prompt),
    "TaIDPT": (("TRAINER.TAIDPT.REGION_WEIGHT", str(WEIGHT)), two_prompts),
}


@pytest.mark.parametrize("method", METHODS)
def test_a_map_holds_the_similarity_of_each_region(method, roots):
    words, naive = METHODS[method]
    run = untrained(roots["ViT"], method, *words)
    picture = a_picture(roots["ViT"])[1]
    features = run.features(run.transform(picture)[None])
    for column in range(len(NAMES)):
        found = region_map(run, features, column)
        assert found.shape == (4, 4)
        for row in range(4):
            for place in range(4):
                region = features.local_features[0, 4 * row + place]
                expected = naive(features.global_features[0], region, run.text, column)
                assert found[row, place].item() == pytest.approx(expected, abs=1e-5)


def test_the_mean_token_of_a_resnet_has_no_place_on_the_map(roots):
    plain = untrained(roots["RN"], "DualCoOp", tower="RN")
    with_mean = untrained(roots["RN"], "DualCoOp", "MODEL.DENSE.MEAN_TOKEN", "True", tower="RN")
    image = plain.transform(a_picture(roots["RN"])[1])[None]
    expected = region_cosines(plain, plain.features(image))
    found = region_cosines(with_mean, with_mean.features(image))
    assert with_mean.features(image).local_features.shape[1] == expected.shape[1] + 1
    torch.testing.assert_close(found, expected)


def test_only_methods_with_regions_have_maps(roots):
    assert looks_at_regions(untrained(roots["ViT"], "DualCoOp"))
    assert not looks_at_regions(untrained(roots["ViT"], "CoOp"))


@pytest.mark.parametrize("resize", ("crop", "squash"))
@pytest.mark.parametrize("size", ((90, 60), (40, 100), (50, 50)))
def test_the_model_sees_that_part_of_the_picture(resize, size):
    inputs = {"SIZE": (32, 32), "RESIZE": resize, "INTERPOLATION": "nearest", "TRANSFORMS": ()}
    inputs |= {"PIXEL_MEAN": None, "PIXEL_STD": None}
    transform = evaluation_transform(CfgNode({"INPUT": inputs}))
    part = [round(edge) for edge in seen_part(inputs, *size)]
    picture = Image.new("RGB", size, "black")
    picture.paste("white", tuple(part))
    seen = transform(picture)
    assert seen[:, 1:-1, 1:-1].min() == 1  # all of what is seen lies within
    inner = (part[0] + 3, part[1] + 3, part[2] - 3, part[3] - 3)
    picture.paste("black", inner)
    seen = transform(picture)
    for edge in (seen[:, 0], seen[:, -1], seen[:, :, 0], seen[:, :, -1]):
        assert edge.max() == 1  # and it reaches to the part's edges


def test_a_map_covers_its_part_and_grows_lighter_with_similarity():
    picture = Image.new("RGB", (60, 40), (90, 120, 60))
    values = torch.tensor([[0.1, 0.2], [0.3, 0.4]])
    drawn = np.asarray(draw_map(picture, values, (10.0, 0.0, 50.0, 40.0)).convert("L"), dtype=int)
    outside = drawn[:, :10]
    assert drawn.shape == (40, 60) and (outside == outside[0, 0]).all()
    assert (drawn[:, 50:] == outside[0, 0]).all()
    cells = [drawn[:20, 10:30], drawn[:20, 30:50], drawn[20:, 10:30], drawn[20:, 30:50]]
    assert all((cell == cell[0, 0]).all() for cell in cells)
    levels = [int(cell[0, 0]) for cell in cells]
    assert all(after - before > 10 for before, after in zip(levels, levels[1:], strict=False))


def test_equal_similarities_have_one_colour():
    drawn = draw_map(Image.new("RGB", (8, 8)), torch.full((2, 2), 0.3), (0.0, 0.0, 8.0, 8.0))
    assert len(drawn.getcolors()) == 1
