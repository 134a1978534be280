"""Small drawings for TensorBoard, made with Pillow: a matrix of classes, cards of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

__all__ = ["matrix_image", "picture_card"]

_LIGHT, _DARK = (255, 255, 255), (8, 64, 129)  # of the lowest and the highest value
_SIDE, _TEXT_WIDTH = 224, 260  # pixels of a card's picture and of its text
_LINE = 14  # pixels
_MAX_SIDE = 1600  # of a matrix; above, a cell takes a pixel


def matrix_image(values: Tensor, names: Sequence[str]) -> Image.Image:
    """Draw a square matrix in shades of blue, its rows and columns in the order of the names.

    Args:
        values: [C, C]; the lowest is white, the highest dark blue. The range stands on top.
        names: C names, at the rows; left out where cells are too small for letters.

    Returns:
        RGB image.
    """
    values = values.detach().float().cpu()
    low, high = float(values.min()), float(values.max())
    shade = ((values - low) / max(high - low, 1e-12)).unsqueeze(-1).numpy()  # [C, C, 1]
    colors = (np.array(_LIGHT) * (1 - shade) + np.array(_DARK) * shade).astype(np.uint8)
    cell = max(1, min(24, _MAX_SIDE // len(names)))
    named = cell >= _LINE - 2
    font = _font()
    left = max(int(font.getlength(_latin(name))) for name in names) + 8 if named else 0
    side = cell * len(names)
    canvas = Image.new("RGB", (left + max(side, 200), _LINE + 4 + side), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((left + 2, 2), f"{low:.3f} (white) to {high:.3f} (dark)", "black", font)
    squares = Image.fromarray(colors).resize((side, side), Image.Resampling.NEAREST)
    canvas.paste(squares, (left, _LINE + 4))
    for row, name in enumerate(names if named else ()):
        draw.text((2, _LINE + 4 + row * cell + (cell - 11) // 2), _latin(name), "black", font)
    return canvas


def picture_card(picture: Image.Image, lines: Sequence[str]) -> Image.Image:
    """A picture, and lines of text beside it, broken to its width.

    Args:
        picture: RGB, of any size.
        lines: of text; those that do not fit are left out.

    Returns:
        RGB image, 484 pixels wide and 224 high.
    """
    canvas = Image.new("RGB", (_SIDE + _TEXT_WIDTH, _SIDE), "white")
    canvas.paste(ImageOps.contain(picture, (_SIDE, _SIDE)), (0, 0))
    draw, font = ImageDraw.Draw(canvas), _font()
    broken = [part for line in lines for part in _broken(_latin(line), font)]
    for number, line in enumerate(broken[: _SIDE // _LINE]):
        draw.text((_SIDE + 8, 2 + number * _LINE), line, "black", font)
    return canvas


@lru_cache(maxsize=1)
def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Pillow's own font; unpacking it takes longer than drawing a card."""
    return ImageFont.load_default()


def _broken(line: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> list[str]:
    """A line as several that fit, broken between words."""
    parts = [""]
    for word in line.split():
        longer = f"{parts[-1]} {word}".strip()
        if parts[-1] and font.getlength(longer) > _TEXT_WIDTH - 16:
            parts.append(word)
        else:
            parts[-1] = longer
    return parts


def _latin(text: str) -> str:
    """What Pillow's own font can draw; other letters become question marks."""
    return text.encode("latin-1", "replace").decode("latin-1")
