from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from loading.transforms import fixed_transform
from reporting.regions import region_box


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
