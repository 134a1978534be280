"""Pictures with their labels and scores below them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from common.files import write_whole
from loading.images import read_picture
from prediction.predictor import Prediction

_SIDES = 480, 1600  # pixels of the longer side: smaller and larger pictures are scaled
_INK, _PAPER, _TAG = "black", "white", "#CFE3F5"


def annotated_paths(paths: Sequence[str], folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Where annotated pictures go: below a folder as the pictures lie below their common one.

    Args:
        paths: N pictures.
        folder: of the annotated ones.

    Returns:
        For each path a JPEG file of its own, none of them one of the pictures.
    """
    originals = [os.path.realpath(path) for path in paths]
    common = os.path.commonpath([os.path.dirname(path) for path in originals])
    found: dict[str, Path] = {}
    used = set(originals)
    for path, original in zip(paths, originals, strict=True):
        target = os.path.join(os.path.realpath(folder), os.path.relpath(original, common))
        while target in used or not target.lower().endswith((".jpg", ".jpeg")):
            target += ".jpg"
        used.add(target)
        found[path] = Path(target)
    return found


def write_annotated(prediction: Prediction, path: str | os.PathLike[str]) -> None:
    """Read a picture again and write it with its labels as JPEG; missing folders are made.

    Args:
        prediction: of a picture that can be read.
        path: file to write.

    Raises:
        OSError: it cannot be written.
        loading.images.PictureError: the picture can no longer be read.
    """
    scores = prediction.scores
    labels = [f"{label} {scores[label]:.2f}" for label in prediction.labels]
    picture = annotate(read_picture(prediction.path), labels or ["no label"])
    write_whole(path, lambda file: picture.save(file, "JPEG", quality=90))


def annotate(picture: Image.Image, labels: Sequence[str]) -> Image.Image:
    """A picture, scaled to a size that letters suit, above a strip with its labels.

    Args:
        picture: RGB.
        labels: in the order in which they are written; those too long for a line are cut.
    """
    shown = _readable_size(picture)
    size = max(16, max(shown.size) // 40)  # of the letters, in pixels
    font = _font(size)
    width = max(shown.width, _SIDES[0] // 2)
    gap = size // 2
    tags, height = _layout(
        [_fitting(label, font, width - 4 * gap) for label in labels], width, font
    )
    sheet = Image.new("RGB", (width, shown.height + height), _PAPER)
    sheet.paste(shown, ((width - shown.width) // 2, 0))
    draw = ImageDraw.Draw(sheet)
    for left, top, right, bottom, label in tags:
        box = (left, shown.height + top, right, shown.height + bottom)
        draw.rounded_rectangle(box, radius=gap // 2, fill=_TAG)
        middle = shown.height + (top + bottom) // 2
        draw.text((left + gap, middle), label, fill=_INK, font=font, anchor="lm")
    return sheet


Tag = tuple[int, int, int, int, str]  # left, top, right, bottom in the strip, and the label


def _layout(
    labels: Sequence[str], width: int, font: ImageFont.FreeTypeFont
) -> tuple[list[Tag], int]:
    """Boxes of labels in lines of at most `width` pixels, and the height of all lines."""
    gap, line = int(font.size) // 2, int(1.6 * font.size)
    tags: list[Tag] = []
    left, top = gap, gap
    for label in labels:
        box = int(font.getlength(label)) + 2 * gap
        if left > gap and left + box > width - gap:
            left, top = gap, top + line + gap
        tags.append((left, top, left + box, top + line, label))
        left += box + gap
    return tags, top + line + gap


def _fitting(label: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """A label, with its middle left out if it is wider; its score stands at the end."""
    name, _, score = label.rpartition(" ")
    while name and font.getlength(label) > width:
        name = name[:-1]
        label = f"{name}... {score}"
    return label


def _readable_size(picture: Image.Image) -> Image.Image:
    least, most = _SIDES
    side = max(picture.size)
    scale = min(max(side, least), most) / side
    if scale == 1:
        return picture
    size = [max(1, round(length * scale)) for length in picture.size]
    return picture.resize(size, Image.Resampling.BICUBIC)


def _font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font.

    Raises:
        ValueError: this Pillow has none that can be scaled.
    """
    try:
        return ImageFont.load_default(size)
    except (TypeError, ImportError) as error:
        raise ValueError("Annotated pictures need Pillow 10.1 or newer, with FreeType.") from error
