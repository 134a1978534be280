"""Cluttered pictures of drawn shapes, a pure function of (style, objects, random generator).

A picture is a soft background, clutter strokes and blobs, the objects from large to small, a few
strokes across them, then light, contrast and noise. Three styles are known: `BENCHMARK` draws
ShapesLT, `CROWDED` ShapesLT80, `PRETRAIN` what the tiny CLIP was pre-trained on. The last is
calmer, so a zero-shot classifier meets a shifted distribution, as CLIP does on a new data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from datasets.shapes.glyphs import glyph, outline

SIDE = 96  # pixels; three by three regions for a ResNet tower of stride 32

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "orange": (240, 140, 30),
    "yellow": (245, 214, 60),
    "green": (50, 150, 70),
    "blue": (45, 95, 200),
    "purple": (130, 65, 165),
    "pink": (240, 130, 170),
    "brown": (125, 80, 45),
    "white": (240, 240, 235),
    "black": (30, 30, 35),
}
COLOUR_NAMES: tuple[str, ...] = tuple(COLOURS)


@dataclass(frozen=True)
class Style:
    """How a picture is drawn; pairs are (low, high) of a uniform draw."""

    size: tuple[float, float]  # side of an object in units of the picture's side
    rotation: float  # largest rotation either way, degrees
    stretch: float  # largest change of the aspect ratio, as a fraction
    overlap: float  # share of an object's box that another object's box may cover
    outside: float  # share of an object's box that may lie outside the picture
    hollow: float  # probability that an object is drawn as an outline only
    rim: float  # probability of a dark or light rim around a filled object
    opacity: tuple[float, float]  # coverage of an object's paint
    strokes: tuple[int, int]  # number of clutter strokes behind the objects
    blobs: tuple[int, int]  # number of clutter blobs behind the objects
    scratches: tuple[int, int]  # number of thin strokes across the objects
    contrast: float  # least colour distance between object and background, of 441
    noise: tuple[float, float]  # standard deviation of the pixel noise, of 255
    blur: float  # largest radius of the final blur, pixels


PRETRAIN = Style(
    size=(0.32, 0.56),
    rotation=15.0,
    stretch=0.12,
    overlap=0.15,
    outside=0.05,
    hollow=0.10,
    rim=0.5,
    opacity=(0.9, 1.0),
    strokes=(0, 5),
    blobs=(0, 4),
    scratches=(0, 1),
    contrast=130.0,
    noise=(0.0, 10.0),
    blur=0.4,
)
BENCHMARK = Style(
    size=(0.28, 0.54),
    rotation=30.0,
    stretch=0.25,
    overlap=0.30,
    outside=0.12,
    hollow=0.25,
    rim=0.3,
    opacity=(0.8, 1.0),
    strokes=(3, 9),
    blobs=(2, 6),
    scratches=(0, 3),
    contrast=100.0,
    noise=(4.0, 18.0),
    blur=0.6,
)
CROWDED = replace(  # set by the score of zero-shot CLIP alone, see docs/data.md
    PRETRAIN,
    rotation=20.0,
    stretch=0.15,
    overlap=0.20,
    hollow=0.15,
    strokes=(1, 6),
    noise=(2.0, 12.0),
)


@dataclass(frozen=True)
class Picture:
    """A drawn picture with what a caption may say about it."""

    image: Image.Image  # RGB, SIDE x SIDE
    class_ids: tuple[int, ...]  # in the order of painting
    colours: tuple[str, ...]  # colour name of each object
    background: str  # colour name of the background


def render(class_ids: Sequence[int], style: Style, rng: np.random.Generator) -> Picture:
    """Draw one picture that shows each of the given classes once.

    Args:
        class_ids: distinct class ids, indices into `SHAPE_NAMES`.
        style: the look of the picture.
        rng: the only source of randomness; the same state gives the same pixels.
    """
    background = COLOUR_NAMES[rng.integers(len(COLOUR_NAMES))]
    ground = _shade(COLOURS[background], rng, 18)
    image = _gradient(ground, rng)
    _clutter(image, ground, style, rng)
    boxes = _place(len(class_ids), style, rng)
    order = rng.permutation(len(class_ids))
    colours = []
    for class_id, box in zip((class_ids[i] for i in order), boxes, strict=True):
        name, colour = _visible_colour(ground, style.contrast, rng)
        _paint(image, class_id, box, colour, style, rng)
        colours.append(name)
    _scratch(image, style, rng)
    image = _finish(image, style, rng)
    return Picture(image, tuple(class_ids[i] for i in order), tuple(colours), background)


def _shade(
    colour: tuple[int, int, int], rng: np.random.Generator, spread: int
) -> tuple[int, int, int]:
    shifted = np.clip(np.add(colour, rng.integers(-spread, spread + 1, 3)), 0, 255)
    return tuple(int(value) for value in shifted)


def _gradient(ground: tuple[int, int, int], rng: np.random.Generator) -> Image.Image:
    """A background whose light falls off from one corner, by two bilinear pixels."""
    corners = np.clip(np.add(ground, rng.integers(-28, 29, (2, 2, 1))), 0, 255)  # [2, 2, 3]
    return Image.fromarray(corners.astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)


def _clutter(
    image: Image.Image, ground: tuple[int, int, int], style: Style, rng: np.random.Generator
) -> None:
    """Blobs and strokes in colours near the background's or from the whole palette."""
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(style.blobs[0], style.blobs[1] + 1)):
        x, y = rng.uniform(0, SIDE, 2)
        rx, ry = rng.uniform(0.03 * SIDE, 0.16 * SIDE, 2)
        box = (x - rx, y - ry, x + rx, y + ry)
        kind = draw.ellipse if rng.random() < 0.6 else draw.rectangle
        kind(box, fill=_clutter_colour(ground, rng))
    for _ in range(rng.integers(style.strokes[0], style.strokes[1] + 1)):
        points = rng.uniform(-0.1 * SIDE, 1.1 * SIDE, (rng.integers(2, 4), 2))
        line = [(float(x), float(y)) for x, y in points]
        draw.line(line, fill=_clutter_colour(ground, rng), width=int(rng.integers(1, 5)))


def _clutter_colour(ground: tuple[int, int, int], rng: np.random.Generator) -> tuple[int, int, int]:
    if rng.random() < 0.65:
        return _shade(ground, rng, 60)
    return COLOURS[COLOUR_NAMES[rng.integers(len(COLOUR_NAMES))]]


def _place(count: int, style: Style, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Boxes (left, top, side) in pixels, large first; overlap is kept small where possible."""
    shrink = (1.0, 1.0, 0.92, 0.82, 0.74, 0.68, 0.63)[count - 1]
    sides = np.sort(rng.uniform(*style.size, count))[::-1] * SIDE * shrink
    boxes: list[tuple[float, float, float]] = []
    for side in sides:
        low, high = -style.outside * side, SIDE - (1 - style.outside) * side
        tries = [(*rng.uniform(low, high, 2), side) for _ in range(12)]
        covered = [max((_covered(box, other) for other in boxes), default=0.0) for box in tries]
        allowed = [box for box, share in zip(tries, covered, strict=True) if share <= style.overlap]
        boxes.append(allowed[0] if allowed else tries[int(np.argmin(covered))])
    return boxes


def _covered(box: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    """Share of the smaller of two boxes that lies within the larger."""
    width = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
    height = min(box[1] + box[2], other[1] + other[2]) - max(box[1], other[1])
    return max(width, 0.0) * max(height, 0.0) / min(box[2], other[2]) ** 2


def _visible_colour(
    ground: tuple[int, int, int], contrast: float, rng: np.random.Generator
) -> tuple[str, tuple[int, int, int]]:
    """A palette colour, shaded, that stands out from the background by `contrast`."""
    for index in rng.permutation(len(COLOUR_NAMES)):
        colour = _shade(COLOURS[COLOUR_NAMES[index]], rng, 22)
        if np.linalg.norm(np.subtract(colour, ground)) >= contrast:
            break
    return COLOUR_NAMES[index], colour


def _paint(
    image: Image.Image,
    class_id: int,
    box: tuple[float, float, float],
    colour: tuple[int, int, int],
    style: Style,
    rng: np.random.Generator,
) -> None:
    """Paint one object into its box: mirrored, stretched, rotated, filled or hollow."""
    left, top, side = box
    stretch = 1.0 + rng.uniform(-style.stretch, style.stretch)
    size = (max(8, round(side * min(stretch, 1.0))), max(8, round(side / max(stretch, 1.0))))
    hollow = rng.random() < style.hollow
    mask = outline(class_id) if hollow else glyph(class_id)
    if rng.random() < 0.5:
        mask = mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    mask = mask.resize(size, Image.Resampling.BOX)
    angle = rng.uniform(-style.rotation, style.rotation)
    mask = mask.rotate(angle, Image.Resampling.BILINEAR, expand=True)
    corner = (
        round(left + (side - mask.width) / 2),
        round(top + (side - mask.height) / 2),
    )
    opacity = rng.uniform(*style.opacity)
    if not hollow and rng.random() < style.rim:
        rim = (25, 25, 30) if sum(colour) > 300 else (245, 245, 240)
        image.paste(rim, corner, mask.filter(ImageFilter.MaxFilter(3)))
    image.paste(colour, corner, Image.blend(Image.new("L", mask.size), mask, opacity))


def _scratch(image: Image.Image, style: Style, rng: np.random.Generator) -> None:
    """Thin strokes that cross the objects."""
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(style.scratches[0], style.scratches[1] + 1)):
        ends = [(float(x), float(y)) for x, y in rng.uniform(0, SIDE, (2, 2))]
        draw.line(ends, fill=COLOURS[COLOUR_NAMES[rng.integers(len(COLOUR_NAMES))]], width=1)


def _finish(image: Image.Image, style: Style, rng: np.random.Generator) -> Image.Image:
    """Blur, then contrast, light and noise."""
    radius = rng.uniform(0.0, style.blur)
    if radius > 0.2:
        image = image.filter(ImageFilter.GaussianBlur(radius))
    pixels = np.asarray(image, dtype=np.float32)  # [SIDE, SIDE, 3]
    pixels = (pixels - 128) * rng.uniform(0.85, 1.1) + 128 + rng.uniform(-14, 14)
    noise = rng.standard_normal(pixels.shape, dtype=np.float32)
    pixels = pixels + noise * rng.uniform(*style.noise)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
