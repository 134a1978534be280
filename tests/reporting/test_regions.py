from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from loading.transforms import fixed_transform
from modeling.encoders.features import Features
from prediction import load_run
from reporting.regions import region_box, region_cosines


def test_a_region_counts_as_if_it_were_the_only_one(runs):
    run = load_run(runs / "DualCoOp" / "seed1")
    images = torch.rand(2, 3, *run.cfg.INPUT.SIZE)
    features = run.features(images)
    found = region_cosines(run, features)
    positive, negative = run.text
    torch.testing.assert_close(found, features.local_features @ (positive - negative).t())
    run.cfg.defrost()
    run.cfg.MODEL.DENSE.MEAN_TOKEN = True  # then the first of them is no place
    torch.testing.assert_close(region_cosines(run, features), found[:, 1:])


def test_methods_without_regions_have_none():
    run = SimpleNamespace(cfg=None)
    assert region_cosines(run, Features(torch.zeros(1, 4))) is None


@pytest.mark.parametrize("resize", ["squash", "crop"])
@pytest.mark.parametrize("width, height", [(120, 60), (60, 120), (60, 60)])
def test_the_box_is_what_the_model_sees_as_that_region(resize, width, height):
    inputs, stride = {"SIZE": (30, 30), "RESIZE": resize}, 10
    transform = fixed_transform((30, 30), resize, "nearest", None, None)
    for region in range(9):
        box = region_box(region, stride, inputs, width, height)
        picture = np.zeros((height, width, 3), np.uint8)
        rows = slice(round(box.top * height), round(box.bottom * height))
        picture[rows, round(box.left * width) : round(box.right * width)] = 255
        seen = torch.zeros(3, 3)
        seen.view(-1)[region] = 1
        expected = seen.repeat_interleave(stride, 0).repeat_interleave(stride, 1)
        assert torch.equal(transform(Image.fromarray(picture))[0], expected)
