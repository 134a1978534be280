"""Reading picture files: an upright RGB image, or one clear error."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image, ImageChops
from tqdm import tqdm

from common.readers.picture_files import open_picture

_ORIENTATION = 0x0112  # EXIF tag: how the camera was held
_UPRIGHT = {  # value of that tag to what puts the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TO_8_BITS = (np.arange(65536) * 255 / 65535).round().astype(np.uint8)
_BAND = 1 << 20  # pixels converted at once: large pictures are not copied as a whole
_WITH_ALPHA = ("RGBA", "RGBa", "LA", "La", "PA")


class PictureError(ValueError):
    """A picture that cannot be read; the message has its path and what to do."""


def read_picture(path: str | os.PathLike[str]) -> Image.Image:
    """Read a picture as people see it.

    Turned upright by its EXIF tag; transparent parts on white (what lies below them in the file is
    arbitrary); 16-bit grey scaled to 8 bits, not cut off; CMYK in either of the two conventions of
    JPEG; of an animation the first frame. An ordinary JPEG costs no more than decoding it.

    Args:
        path: the file.

    Returns:
        RGB image.

    Raises:
        PictureError: the file is absent, empty, damaged, no picture of the kinds and sizes that
            `common.readers.picture_files` opens, or has pixels without a defined range.
    """
    path = os.fspath(path)
    try:
        with open_picture(path) as image:
            image.load()
            turn = _UPRIGHT.get(_orientation(image))
            image = _to_rgb(image)
            return image.transpose(turn) if turn is not None else image
    except FileNotFoundError as error:
        raise PictureError(f"{path}: there is no such file.") from error
    # A damaged file may make a decoder raise nearly anything, and it all means the same.
    except Exception as error:
        what = "the file is empty" if _is_empty(path) else f"{error or type(error).__name__}"
        what = what.removeprefix(f"{path} ")
        raise PictureError(
            f"{path}: {what.rstrip('.')}. Get the picture again, or take it out of the lists."
        ) from error


def check_pictures(paths: Sequence[str], workers: int = 4) -> list[str]:
    """Decode every picture and say which cannot be read.

    Args:
        paths: the files.
        workers: pictures read at once; threads, for Pillow decodes outside Python's lock.

    Returns:
        A message for each picture that cannot be read, in the order of `paths`.
    """
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        checked = pool.map(_problem, paths)
        problems = list(tqdm(checked, "Check pictures", len(paths), leave=False))
    return [problem for problem in problems if problem]


def _problem(path: str) -> str:
    try:
        read_picture(path)
    except PictureError as error:
        return str(error)
    return ""


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a broken EXIF block, whatever breaks: the pixels are fine all the same
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    inverted = image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info
    rows = max(1, _BAND // image.width)
    if rows >= image.height:
        return _converted(image, inverted)
    whole = Image.new("RGB", image.size)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        band = image.crop((0, top, image.width, bottom))
        whole.paste(_converted(band, inverted), (0, top))
    return whole


def _converted(image: Image.Image, inverted: bool) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        levels = np.asarray(image).clip(0, 65535).astype(np.uint16)  # [H, W]
        return Image.fromarray(_TO_8_BITS[levels]).convert("RGB")
    if image.mode == "F":
        raise ValueError("floating-point pixels have no defined range; save it as 8-bit RGB")
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        ground = Image.new("RGBA", image.size, "white")
        opaque = image if image.mode == "RGBA" else image.convert("RGBA")
        return Image.alpha_composite(ground, opaque).convert("RGB")
    if inverted:
        # Pillow takes every CMYK JPEG for one of Adobe's, which stores ink inverted.
        image = ImageChops.invert(image)
    return image.convert("RGB")


def _is_empty(path: str) -> bool:
    return os.path.isfile(path) and os.path.getsize(path) == 0
