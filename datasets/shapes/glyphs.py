"""The twenty drawn shapes of ShapesLT, each as a function that draws one silhouette.

Coordinates run from 0 to 100 in both directions, the origin is the upper left corner. `ink`
paints, `gap` erases: a door, a string or the hole of a key is a gap through which the
background shows. The order of `GLYPHS` is the order of the class ids.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

from PIL import Image, ImageChops, ImageDraw, ImageFilter

CANVAS = 512  # pixels a glyph is drawn with; reduced to GLYPH_SIDE, which smooths its edges
GLYPH_SIDE = 128  # pixels of a finished glyph, larger than any object in a picture

Points = Sequence[tuple[float, float]]


class Pen:
    """Draws on a square coverage mask in units of a hundredth of its side."""

    def __init__(self) -> None:
        self.mask = Image.new("L", (CANVAS, CANVAS), 0)
        self._draw = ImageDraw.Draw(self.mask)
        self._unit = CANVAS / 100

    def polygon(self, points: Points, ink: bool = True) -> None:
        """Fill the polygon with the given corners."""
        self._draw.polygon(self._scaled(points), fill=255 if ink else 0)

    def line(self, points: Points, width: float, ink: bool = True) -> None:
        """Draw a polyline with round joints and ends."""
        fill = 255 if ink else 0
        self._draw.line(self._scaled(points), fill=fill, width=round(width * self._unit))
        for x, y in points:
            self.ellipse(x, y, width / 2, width / 2, ink)

    def ellipse(self, x: float, y: float, rx: float, ry: float, ink: bool = True) -> None:
        """Fill the ellipse around (x, y) with half axes rx and ry."""
        box = self._scaled([(x - rx, y - ry), (x + rx, y + ry)])
        self._draw.ellipse(box, fill=255 if ink else 0)

    def disc(self, x: float, y: float, radius: float, ink: bool = True) -> None:
        """Fill the circle around (x, y)."""
        self.ellipse(x, y, radius, radius, ink)

    def pie(self, x: float, y: float, rx: float, ry: float, start: float, end: float) -> None:
        """Fill the part of an ellipse between two angles in degrees, clockwise from the right."""
        box = self._scaled([(x - rx, y - ry), (x + rx, y + ry)])
        self._draw.pieslice(box, start, end, fill=255)

    def _scaled(self, points: Points) -> list[tuple[float, float]]:
        return [(x * self._unit, y * self._unit) for x, y in points]


def _arc(x: float, y: float, radius: float, start: float, end: float) -> Points:
    """Points of a circular arc between two angles in degrees, clockwise from the right."""
    angles = (math.radians(start + (end - start) * step / 24) for step in range(25))
    return [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles]


def _anchor(pen: Pen) -> None:
    pen.disc(50, 14, 11)
    pen.disc(50, 14, 5, ink=False)
    pen.line([(50, 26), (50, 90)], 9)
    pen.line([(28, 36), (72, 36)], 8)
    pen.line(_arc(50, 52, 38, 10, 170), 9)
    pen.polygon([(5, 66), (8, 42), (27, 58)])
    pen.polygon([(95, 66), (92, 42), (73, 58)])


def _arrow(pen: Pen) -> None:
    pen.polygon([(4, 40), (56, 40), (56, 18), (97, 50), (56, 82), (56, 60), (4, 60)])


def _bell(pen: Pen) -> None:
    pen.disc(50, 12, 8)
    pen.pie(50, 42, 27, 32, 180, 360)
    pen.polygon([(23, 42), (77, 42), (82, 64), (93, 76), (7, 76), (18, 64)])
    pen.disc(50, 86, 10)
    pen.line([(12, 76), (88, 76)], 2.5, ink=False)


def _butterfly(pen: Pen) -> None:
    for side in (-1, 1):
        pen.ellipse(50 + side * 26, 32, 23, 25)
        pen.ellipse(50 + side * 21, 70, 17, 21)
        pen.disc(50 + side * 29, 31, 8, ink=False)
        pen.line([(50, 24), (50 + side * 13, 4)], 3)
        pen.line([(50 + side * 5, 18), (50 + side * 5, 84)], 3, ink=False)
    pen.ellipse(50, 52, 4.5, 36)


def _crown(pen: Pen) -> None:
    pen.polygon(
        [(10, 80), (5, 28), (28, 52), (50, 14), (72, 52), (95, 28), (90, 80)],
    )
    for x, y in ((6, 25), (50, 13), (94, 25)):
        pen.disc(x, y, 6)
    pen.line([(13, 68), (87, 68)], 4, ink=False)


def _cup(pen: Pen) -> None:
    pen.disc(75, 50, 21)
    pen.disc(75, 50, 12, ink=False)
    pen.polygon([(8, 26), (74, 26), (68, 82), (58, 90), (24, 90), (14, 82)])
    for x in (25, 42, 59):
        pen.line([(x, 18), (x + 5, 12), (x, 4)], 4)


def _envelope(pen: Pen) -> None:
    pen.polygon([(4, 20), (96, 20), (96, 80), (4, 80)])
    pen.line([(6, 22), (50, 56), (94, 22)], 5, ink=False)
    pen.line([(6, 78), (36, 48)], 3, ink=False)
    pen.line([(94, 78), (64, 48)], 3, ink=False)


def _fish(pen: Pen) -> None:
    pen.ellipse(42, 50, 36, 24)
    pen.polygon([(68, 50), (97, 22), (90, 50), (97, 78)])
    pen.polygon([(30, 32), (46, 12), (60, 32)])
    pen.disc(22, 44, 4.5, ink=False)
    pen.line(_arc(20, 50, 18, -40, 40), 3, ink=False)


def _flag(pen: Pen) -> None:
    pen.line([(18, 6), (18, 95)], 7)
    wave = [(x, 5 * math.sin(x / 11)) for x in range(18, 95, 4)]
    top = [(x, 14 + dy) for x, dy in wave]
    bottom = [(x, 58 + dy) for x, dy in reversed(wave)]
    pen.polygon(top + bottom)


def _flower(pen: Pen) -> None:
    for x, y in _arc(50, 34, 19, 0, 300)[::4]:
        pen.disc(x, y, 12)
    pen.disc(50, 34, 14)
    pen.disc(50, 34, 8, ink=False)
    pen.line([(50, 56), (50, 97)], 6)
    pen.ellipse(66, 80, 15, 6)
    pen.ellipse(34, 86, 15, 6)


def _heart(pen: Pen) -> None:
    angles = (2 * math.pi * step / 120 for step in range(120))
    pen.polygon(
        [
            (
                50 + 2.85 * 16 * math.sin(a) ** 3,
                46
                - 2.85
                * (13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)),
            )
            for a in angles
        ]
    )


def _house(pen: Pen) -> None:
    pen.polygon([(70, 8), (82, 8), (82, 40), (70, 30)])
    pen.polygon([(50, 8), (97, 50), (3, 50)])
    pen.polygon([(14, 50), (86, 50), (86, 94), (14, 94)])
    pen.polygon([(54, 64), (72, 64), (72, 94), (54, 94)], ink=False)
    pen.polygon([(24, 60), (42, 60), (42, 76), (24, 76)], ink=False)


def _key(pen: Pen) -> None:
    pen.disc(24, 50, 21)
    pen.disc(24, 50, 11, ink=False)
    pen.line([(44, 50), (94, 50)], 9)
    pen.polygon([(88, 50), (97, 50), (97, 74), (88, 74)])
    pen.polygon([(72, 50), (81, 50), (81, 68), (72, 68)])


def _lightning_bolt(pen: Pen) -> None:
    pen.polygon([(58, 2), (18, 56), (44, 56), (32, 98), (82, 38), (54, 38), (74, 2)])


def _moon(pen: Pen) -> None:
    pen.disc(46, 50, 44)
    pen.disc(68, 42, 38, ink=False)


def _mushroom(pen: Pen) -> None:
    pen.pie(50, 54, 46, 46, 180, 360)
    pen.polygon([(38, 54), (62, 54), (68, 94), (32, 94)])
    for x, y, radius in ((30, 40, 7), (52, 24, 7), (70, 42, 6)):
        pen.disc(x, y, radius, ink=False)
    pen.line([(6, 55), (94, 55)], 3, ink=False)


def _spiral(pen: Pen) -> None:
    turns = [math.radians(12 * step) for step in range(93)]
    pen.line(
        [(50 + 2.25 * a * math.cos(a), 50 + 2.25 * a * math.sin(a)) for a in turns],
        7,
    )


def _star(pen: Pen) -> None:
    angles = [math.radians(-90 + 36 * step) for step in range(10)]
    radii = (48, 20)
    pen.polygon(
        [
            (50 + radii[i % 2] * math.cos(a), 53 + radii[i % 2] * math.sin(a))
            for i, a in enumerate(angles)
        ]
    )


def _tree(pen: Pen) -> None:
    for top, half, bottom in ((3, 22, 34), (20, 31, 58), (42, 40, 82)):
        pen.polygon([(50, top), (50 + half, bottom), (50 - half, bottom)])
    pen.polygon([(43, 82), (57, 82), (57, 98), (43, 98)])


def _umbrella(pen: Pen) -> None:
    pen.line([(50, 5), (50, 12)], 5)
    pen.pie(50, 52, 46, 42, 180, 360)
    for x in (19.5, 50, 80.5):
        pen.ellipse(x, 53, 15, 8, ink=False)
    pen.line([(50, 46), (50, 84)], 5)
    pen.line(_arc(41, 84, 9, 0, 180), 5)


GLYPHS: dict[str, Callable[[Pen], None]] = {
    "anchor": _anchor,
    "arrow": _arrow,
    "bell": _bell,
    "butterfly": _butterfly,
    "crown": _crown,
    "cup": _cup,
    "envelope": _envelope,
    "fish": _fish,
    "flag": _flag,
    "flower": _flower,
    "heart": _heart,
    "house": _house,
    "key": _key,
    "lightning bolt": _lightning_bolt,
    "moon": _moon,
    "mushroom": _mushroom,
    "spiral": _spiral,
    "star": _star,
    "tree": _tree,
    "umbrella": _umbrella,
}
SHAPE_NAMES: tuple[str, ...] = tuple(GLYPHS)


@cache
def glyph(class_id: int) -> Image.Image:
    """Coverage mask (mode L, GLYPH_SIDE pixels square) of the shape with this class id.

    The image is shared between callers; treat it as read-only.
    """
    pen = Pen()
    GLYPHS[SHAPE_NAMES[class_id]](pen)
    return pen.mask.reduce(CANVAS // GLYPH_SIDE)


@cache
def outline(class_id: int) -> Image.Image:
    """Coverage mask of the shape's contour only; shared and read-only like `glyph`."""
    filled = glyph(class_id)
    grown, shrunk = filled.filter(ImageFilter.MaxFilter(5)), filled.filter(ImageFilter.MinFilter(5))
    return ImageChops.subtract(grown, shrunk)
