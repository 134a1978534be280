"""Where a region of the image encoder lies in a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Box(NamedTuple):
    """Part of a picture, as shares of its width and height in [0, 1]."""

    left: float
    top: float
    right: float
    bottom: float


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
