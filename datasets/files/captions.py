"""Readers of image captions: plain text and the official COCO json.

Captions are joined to images by path, never by line number.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import Path

from common.files import MAX_BYTES
from common.readers.json_files import read_json
from datasets.files.json_records import records
from datasets.files.list_files import split_path
from datasets.files.text_rows import DataFileError, Problem, iter_rows


def read_captions(path: str | Path, prefix: str = "") -> dict[str, list[str]]:
    """Read the captions of a file, told apart by its suffix.

    Text: rows `relative/path caption...`; several rows with one path are several captions.
    `.json`: `{"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}`.

    Args:
        path: the file.
        prefix: folder put before every path of the file, e.g. "train2017".

    Returns:
        The captions of each path, in the order of the file; every list holds at least one.

    Raises:
        DataFileError: A row has no caption, the json is malformed or refers to an unknown image,
            or the file holds no caption.
        OSError: the file cannot be read.
    """
    read = _read_json if Path(path).suffix.lower() == ".json" else _read_text
    problems: list[Problem] = []
    captions: dict[str, list[str]] = {}
    for name, caption in read(path, problems):
        captions.setdefault(posixpath.join(prefix, name), []).append(caption)
    if not captions and not problems:
        problems.append(Problem(0, "", "the file holds no caption"))
    if problems:
        raise DataFileError(path, problems)
    return captions


def captions_of(images: Sequence[str], path: str | Path, prefix: str = "") -> dict[str, list[str]]:
    """Read the captions of given images.

    Args:
        images: paths of the images, as in their list.
        path: the file of captions.
        prefix: see `read_captions`.

    Returns:
        The captions of each image, in the order of the file; none for an image without any.

    Raises:
        DataFileError: the file breaks its format.
        ValueError: no caption belongs to any of the images.
        OSError: the file cannot be read.
    """
    captions = read_captions(path, prefix)
    if not any(image in captions for image in images):
        raise ValueError(
            f"{path}: no caption belongs to a training image. Its paths begin with "
            f"{next(iter(captions))!r}, those of the list with {images[0]!r}; "
            "DATASET.CAPTIONS_PREFIX puts a folder before the former."
        )
    return {image: captions.get(image, []) for image in images}


def _read_text(path: str | Path, problems: list[Problem]) -> list[tuple[str, str]]:
    pairs = []
    for line, row in iter_rows(path, problems):
        name, caption = split_path(row)
        if caption:
            pairs.append((name, caption))
        else:
            problems.append(Problem(line, row, "no caption follows the path"))
    return pairs


def _read_json(path: str | Path, problems: list[Problem]) -> list[tuple[str, str]]:
    try:
        content = read_json(path, MAX_BYTES)
    except ValueError as error:
        problems.append(Problem(0, "", str(error)))
        return []
    names: dict[int | str, str] = {}
    for place, image in records(content, "images", {"id": int | str, "file_name": str}, problems):
        if image["id"] in names:
            problems.append(Problem(0, place, f"id {image['id']!r} is repeated"))
        names[image["id"]] = image["file_name"]
    pairs = []
    keys = {"image_id": int | str, "caption": str}
    for place, note in records(content, "annotations", keys, problems):
        caption = " ".join(note["caption"].split())  # some official captions hold line breaks
        if note["image_id"] not in names:
            problems.append(Problem(0, place, f"no image has the id {note['image_id']!r}"))
        elif not caption:
            problems.append(Problem(0, place, "the caption is empty"))
        else:
            pairs.append((names[note["image_id"]], caption))
    return pairs
