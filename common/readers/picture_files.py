"""Opening pictures: formats that Pillow decodes itself, of a size that memory can take."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from PIL import Image, UnidentifiedImageError

from common.files import open_regular

# Of the formats that Pillow knows, EPS would start Ghostscript, a foreign program, and many others
# are rare enough that nobody looks for the faults of their decoders.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000")
# Of a camera's largest pictures. Decoding and converting takes some 8 bytes a pixel, and a file
# of a few KB may claim any number of them.
MAX_PIXELS = 50_000_000
_HUNGRY = ("WEBP", "JPEG2000")  # their decoders take twice as much: half the pixels are allowed


@contextlib.contextmanager
def open_picture(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """Open a picture; its pixels are not decoded yet.

    Args:
        path: a regular file of one of `FORMATS`, whatever its suffix.

    Yields:
        The picture, open until the end of the block, of at most `MAX_PIXELS`, or half as many of
        WEBP and JPEG2000.

    Raises:
        OSError: it is absent, no regular file, or no picture of these formats.
        ValueError: it has more pixels.
    """
    with open_regular(path) as file:
        try:
            picture = Image.open(file, formats=FORMATS)
        except Image.DecompressionBombError as error:  # of Pillow's own limit
            raise ValueError(_too_large(path, "too many", MAX_PIXELS)) from error
        except UnidentifiedImageError as error:
            raise UnidentifiedImageError(
                f"{os.fspath(path)} is no picture of a known format ({', '.join(FORMATS)})"
            ) from error
        with picture:
            most = MAX_PIXELS // 2 if picture.format in _HUNGRY else MAX_PIXELS
            if picture.width * picture.height > most:
                raise ValueError(_too_large(path, f"{picture.width} x {picture.height}", most))
            yield picture


def _too_large(path: str | os.PathLike[str], pixels: str, most: int) -> str:
    return (
        f"{os.fspath(path)} has {pixels} pixels, expected at most {most:,}. Scale the picture down"
    )
