"""Readers of the plain-text files that define a multi-label data set.

A label file has rows `name id`, an image list has rows `path id id ...` (`text_rows` for all else).
A file may have `common.files.MAX_BYTES`, an image list `MAX_LIST_BYTES`.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from common.files import FileTooLargeError
from datasets.files.image_list import ImageList, ListEntry, join
from datasets.files.plain_rows import plain_rows
from datasets.files.text_rows import (
    BLANKS,
    SHOWN_CHARACTERS,
    DataFileError,
    Problem,
    iter_rows,
    pieces_of,
    rows_of,
)

MAX_LIST_BYTES = 4 << 30  # of an image list: a hundred million rows
_SHOWN_RULES = 3  # that one row breaks
_TO_SUFFIX = r".*?\.(?:jpe?g|jp2|png|bmp|gif|webp|tiff?|ppm|pgm)"
_PATH_WITH_SUFFIX = re.compile(_TO_SUFFIX + r"(?=[ \t]|$)", re.IGNORECASE)
_PATH_AND_COMMA = re.compile(_TO_SUFFIX + "[,;]", re.IGNORECASE)
_FIRST_WORD = re.compile(r"[^ \t]+")
# At most nine digits: no id is larger, and Python refuses to convert very long ones.
_ID = re.compile(r"-?[0-9]{1,9}")


def read_labels(path: str | Path) -> list[str]:
    """Read a label file with rows `name id`.

    Rows are read from the right, so that "traffic light 9" is class 9, "traffic light".

    Args:
        path: the file.

    Returns:
        The C names, in the order of their ids.

    Raises:
        DataFileError: A row lacks a name or an id, an id or a name is repeated (names that differ
            in underscores alone are one), the ids are not exactly 0..C-1, or the file holds no row.
        OSError: the file cannot be read.
    """
    problems: list[Problem] = []
    rows = list(iter_rows(path, problems))
    names: dict[int, str] = {}
    lines: dict[int | str, int] = {}  # where an id or a name was first seen
    for line, row in rows:
        cut = max(row.rfind(blank) for blank in BLANKS)
        name, word = row[: max(cut, 0)].rstrip(BLANKS), row[cut + 1 :]
        rule = _broken_id_rule(word, len(rows))
        if not name or rule:
            rule = rule if name else "expected a name and an id, as in 'traffic light 9'"
        elif int(word) in lines:
            rule = f"id {int(word)} is already used on line {lines[int(word)]}"
        elif (read := name_in_words(name)) in lines:
            rule = f"name {read!r} is already used on line {lines[read]}"
        if rule:
            problems.append(Problem(line, row, rule))
        else:
            names[int(word)] = name
            lines[int(word)] = lines[name_in_words(name)] = line
    if problems:
        raise DataFileError(path, problems)
    if not rows:
        raise DataFileError(path, [Problem(0, "", "the file is empty; expected rows 'name id'")])
    return [names[index] for index in range(len(rows))]


def read_list(path: str | Path, num_classes: int) -> list[ListEntry]:
    """Read an image list as `read_images` does, into a list of Python's."""
    return list(read_images(path, num_classes))


def read_images(path: str | Path, num_classes: int) -> ImageList:
    """Read an image list with rows `path id id ...`.

    An image without labels is a row without ids. See `split_path` for paths that hold blanks.
    Rows are read a piece of the file at a time, and one by one where a piece is not plain.

    Args:
        path: the file, of up to `MAX_LIST_BYTES`.
        num_classes: C; every id must be in 0..C-1.

    Returns:
        The images, in the order of the file.

    Raises:
        DataFileError: an id is not an integer, negative, unknown or repeated in its row, an image
            is repeated, fields are not parted by blanks, or the file holds no row.
        OSError: the file cannot be read.
    """
    parts: list[ImageList] = []
    try:
        for content, line in pieces_of(path, MAX_LIST_BYTES):
            part = plain_rows(content, num_classes, line)
            if part is None:
                problems: list[Problem] = []
                rows = _entries(rows_of(content, problems, line), num_classes, problems)
                part = ImageList.of(rows)
                if problems:
                    raise DataFileError(path, _all_problems(path, num_classes))
            parts.append(part)
    except FileTooLargeError as error:
        raise DataFileError(path, [Problem(0, "", str(error))]) from error
    images = join(parts)
    if not len(images):
        rule = "the file is empty; expected rows 'path id id ...'"
        raise DataFileError(path, [Problem(0, "", rule)])
    if images.repeated():
        raise DataFileError(path, _all_problems(path, num_classes))
    return images


def _all_problems(path: str | Path, num_classes: int) -> list[Problem]:
    """What is wrong with a list, up to `MAX_PROBLEMS`, in the order of its lines."""
    problems: list[Problem] = []
    for _ in _entries(iter_rows(path, problems, MAX_LIST_BYTES), num_classes, problems, {}):
        pass
    return problems


def _entries(
    rows: Iterable[tuple[int, str]],
    num_classes: int,
    problems: list[Problem],
    first_lines: dict[str, int] | None = None,
) -> Iterator[ListEntry]:
    """Images of rows, one by one.

    Args:
        rows: line numbers and rows.
        num_classes: C.
        problems: what is wrong is added here.
        first_lines: where each path was first seen; None: nobody looks for repeated ones.
    """
    for line, row in rows:
        picture, rest = split_path(row)
        words = rest.split()
        rules = [rule for word in words if (rule := _broken_id_rule(word, num_classes))]
        labels = () if rules else tuple(int(word) for word in words)
        repeated = sorted(label for label, times in Counter(labels).items() if times > 1)
        rules += [f"id {label} is repeated" for label in repeated]
        if _PATH_AND_COMMA.match(row) and not _PATH_WITH_SUFFIX.match(row):
            rules = ["path and ids are parted by blanks, as in 'a.jpg 3 7', not by commas"]
        if first_lines is not None:
            place = posixpath.normpath(picture)
            if place in first_lines:
                rules.append(f"the path is already listed on line {first_lines[place]}")
            first_lines.setdefault(place, line)
        if rules:
            problems.append(Problem(line, row, _joined(rules)))
        else:
            yield ListEntry(picture, labels, line)


def name_in_words(name: str) -> str:
    """A class name as it is read in prompts: underscores are blanks, and blanks come singly."""
    return " ".join(name.replace("_", " ").split())


def split_path(row: str) -> tuple[str, str]:
    """Split a row into its leading path and the rest.

    The path ends with the first word that has the suffix of a picture, so that "my photo.jpg 3" has
    the path "my photo.jpg"; where no word has one, it is the first word.

    Args:
        row: A row without blanks at its ends.

    Returns:
        The path and the rest, without the blanks between them.
    """
    match = _PATH_WITH_SUFFIX.match(row) or _FIRST_WORD.match(row)
    end = match.end() if match else 0
    return row[:end], row[end:].strip(BLANKS)


def _joined(rules: list[str]) -> str:
    more = len(rules) - _SHOWN_RULES
    return "; ".join([*rules[:_SHOWN_RULES], *([f"... and {more} more"] if more > 0 else [])])


def _broken_id_rule(word: str, num_classes: int) -> str:
    """Return the rule that an id breaks, or an empty string."""
    if not _ID.fullmatch(word):
        shown = word if len(word) <= SHOWN_CHARACTERS else word[:SHOWN_CHARACTERS] + "..."
        return f"{shown!r} is not an integer id, expected 0..{num_classes - 1}"
    if int(word) < 0:
        return f"id {int(word)} is negative, expected 0..{num_classes - 1}"
    if int(word) >= num_classes:
        return f"id {int(word)} is unknown, expected 0..{num_classes - 1}"
    return ""
