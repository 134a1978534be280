"""Pictures named one by one or by folder, as one list without repetition."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple, NoReturn

from PIL import Image

from common.readers.picture_files import FORMATS


class PictureList(NamedTuple):
    """What was found.

    Attributes:
        paths: N files, in the order of the places, sorted within a folder.
        left_out: files of the folders whose suffix is no picture's.
    """

    paths: list[str]
    left_out: int


def list_pictures(places: Sequence[str | os.PathLike[str]]) -> PictureList:
    """List pictures; a path that comes twice is listed once.

    Args:
        places: files, listed whatever their suffix and even if absent, so that reading them says
            what is wrong; and folders, searched at any depth for files with a picture's suffix.

    Raises:
        ValueError: there is no picture.
        OSError: a folder cannot be read.
    """
    found: dict[str, str] = {}  # the same file may be spelled in several ways
    suffixes, left_out = picture_suffixes(), 0
    for place in map(os.fspath, places):
        if not os.path.isdir(place):
            found.setdefault(os.path.abspath(place), place)
            continue
        for path in _files_below(place):
            if os.path.splitext(path)[1].lower() in suffixes:
                found.setdefault(os.path.abspath(path), path)
            else:
                left_out += 1
    if not found:
        raise ValueError(
            f"There is no picture in {', '.join(map(os.fspath, places)) or 'an empty list'}. Name "
            f"pictures, or folders of files that end in {', '.join(sorted(suffixes))}."
        )
    return PictureList(list(found.values()), left_out)


def picture_suffixes() -> set[str]:
    """Suffixes, in lower case, of the formats that are read."""
    known = Image.registered_extensions()
    return {suffix for suffix, kind in known.items() if kind in FORMATS}


def _files_below(folder: str) -> Iterator[str]:
    for parent, folders, names in os.walk(folder, onerror=_give_up):
        folders.sort()
        yield from (os.path.join(parent, name) for name in sorted(names))


def _give_up(error: OSError) -> NoReturn:
    raise error
