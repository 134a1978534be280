"""Where a method looks in a picture: the region that speaks most for a class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from modeling.encoders.features import Features
from prediction import TrainedModel


class Box(NamedTuple):
    """Part of a picture, as shares of its width and height in [0, 1]."""

    left: float
    top: float
    right: float
    bottom: float


def region_cosines(run: TrainedModel, features: Features) -> Tensor | None:
    """Similarity [B, R, C] that each region would give its image, were it the only region.

    That is the method's own similarity (`PromptModel.cosines`), whatever its prompts and however
    it pools.

    Args:
        run: a trained model.
        features: of B images.

    Returns:
        In fp32; None where the method looks at no regions.
    """
    local = features.local_features
    if local is None:
        return None
    if run.cfg.MODEL.DENSE.MEAN_TOKEN:
        local = local[:, 1:]  # the mean of all regions comes first
    size, regions = local.shape[:2]
    alone = Features(
        features.global_features.repeat_interleave(regions, dim=0),
        local.reshape(-1, 1, local.shape[2]),
    )
    with torch.inference_mode():
        return run.model.cosines(alone, run.text).float().unflatten(0, (size, regions))


def region_box(region: int, stride: int, inputs: Mapping[str, Any], width: int, height: int) -> Box:
    """Where a region lies in a picture as it is on disk.

    Args:
        region: its number, row by row from the top left.
        stride: pixels between regions at the model's input size.
        inputs: the config's INPUT keys; SIZE and RESIZE count.
        width: of the picture, in pixels.
        height: of the picture, in pixels.
    """
    rows, columns = inputs["SIZE"]  # pixels that the model sees
    row, column = divmod(region, columns // stride)
    seen_width, seen_height = 1.0, 1.0  # shares of the picture
    if inputs["RESIZE"] == "crop":
        scale = max(rows, columns) / min(width, height)
        seen_width, seen_height = columns / (width * scale), rows / (height * scale)
    left, top = (1 - seen_width) / 2, (1 - seen_height) / 2
    step_x, step_y = seen_width * stride / columns, seen_height * stride / rows
    corner_x, corner_y = left + column * step_x, top + row * step_y
    return Box(corner_x, corner_y, corner_x + step_x, corner_y + step_y)
