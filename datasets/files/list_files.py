"""Readers of the plain-text files that define a multi-label data set.

A label file has rows `name id`, an image list has rows `path id id ...`. Both are UTF-8, with or
without a byte order mark; any line ending, trailing blanks and blank lines are fine. All that is
wrong in a file, up to `MAX_PROBLEMS` of it, is gathered and raised at once.

A file may have `common.files.MAX_BYTES`, an image list `MAX_LIST_BYTES`.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from common.files import MAX_BYTES, FileTooLargeError, open_regular, read_whole
from datasets.files.image_list import ImageList, ListEntry, join
from datasets.files.plain_rows import plain_rows

SHOWN_PROBLEMS = 20
SHOWN_CHARACTERS = 100
MAX_PROBLEMS = 10_000  # after which a file is not read on: it is no list at all
_SHOWN_RULES = 3  # that one row breaks

_BLANKS = " \t"
MAX_LIST_BYTES = 4 << 30  # of an image list: a hundred million rows
_PIECE = 1 << 20  # bytes whose rows are read at once
_MARK = b"\xef\xbb\xbf"  # UTF-8's byte order mark
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r|\Z)")
_TO_SUFFIX = r".*?\.(?:jpe?g|jp2|png|bmp|gif|webp|tiff?|ppm|pgm)"
_PATH_WITH_SUFFIX = re.compile(_TO_SUFFIX + r"(?=[ \t]|$)", re.IGNORECASE)
_PATH_AND_COMMA = re.compile(_TO_SUFFIX + "[,;]", re.IGNORECASE)
_FIRST_WORD = re.compile(r"[^ \t]+")
# At most nine digits: no id is larger, and Python refuses to convert very long ones.
_ID = re.compile(r"-?[0-9]{1,9}")


class Problem(NamedTuple):
    """What is wrong at one place of a file.

    Attributes:
        line: line number counted from 1; 0 where the whole file is meant.
        row: the offending text; may be empty.
        rule: the rule it breaks.
    """

    line: int
    row: str
    rule: str

    def __str__(self) -> str:
        """Return `line 3: 'a.jpg 99': id 99 is unknown`."""
        row = self.row
        if len(row) > SHOWN_CHARACTERS:
            row = row[:SHOWN_CHARACTERS] + "..."
        where = f"line {self.line}: " if self.line else ""
        return f"{where}{row!r}: {self.rule}" if row else f"{where}{self.rule}"


class DataFileError(ValueError):
    """A data file breaks its format; the message lists the places.

    Args:
        path: the file.
        problems: all that is wrong with it, at least one.
        advice: what to do about it, where the rules do not say so.
    """

    def __init__(self, path: str | Path, problems: list[Problem], advice: str = "") -> None:
        self.path = str(path)
        self.problems = problems
        least = "at least " if len(problems) >= MAX_PROBLEMS else ""
        lines = [f"{path}: {least}{len(problems)} problem{'s' if len(problems) > 1 else ''}"]
        lines += [f"  {problem}" for problem in problems[:SHOWN_PROBLEMS]]
        if len(problems) > SHOWN_PROBLEMS:
            lines.append(f"  ... and {len(problems) - SHOWN_PROBLEMS} more")
        if advice:
            lines.append(advice)
        super().__init__("\n".join(lines))


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
        cut = max(row.rfind(blank) for blank in _BLANKS)
        name, word = row[: max(cut, 0)].rstrip(_BLANKS), row[cut + 1 :]
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
        for content, line in _pieces(path):
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


def _pieces(path: str | Path) -> Iterator[tuple[bytes, int]]:
    """Pieces of a file that end with a line, and the number of their first line."""
    with open_regular(path) as file:
        if (size := os.fstat(file.fileno()).st_size) > MAX_LIST_BYTES:
            raise FileTooLargeError(f"{path} has {size:,} bytes, more than {MAX_LIST_BYTES:,}")
        rest, line = file.read(_PIECE).removeprefix(_MARK), 1
        while rest:
            more = file.read(max(_PIECE, len(rest)))  # a long row is not copied again and again
            end = rest.rfind(b"\n") + 1 if more else len(rest)
            if end:
                content = rest[:end] if more or rest.endswith(b"\n") else rest + b"\n"
                yield content, line
                line += content.count(b"\n") + content.count(b"\r") - content.count(b"\r\n")
            rest = rest[end:] + more


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
    return row[:end], row[end:].strip(_BLANKS)


def iter_rows(
    path: str | Path, problems: list[Problem], most: int = MAX_BYTES
) -> Iterator[tuple[int, str]]:
    """Yield the rows of a text file that are not blank.

    Args:
        path: the file.
        problems: rows that are not UTF-8 or hold control characters are added here, not yielded.
            Once it holds `MAX_PROBLEMS`, whoever found them, no more rows follow.
        most: bytes that it may have.

    Yields:
        Line number, counted from 1, and the row without blanks at its ends.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        content = read_whole(path, most).removeprefix(_MARK)
    except FileTooLargeError as error:
        problems.append(Problem(0, "", str(error)))
        return
    yield from rows_of(content, problems)


def rows_of(
    content: bytes, problems: list[Problem], first_line: int = 1
) -> Iterator[tuple[int, str]]:
    """Yield the rows of a text; see `iter_rows`.

    Args:
        content: the text.
        problems: as above.
        first_line: number of its first line.
    """
    # Not str.splitlines, which also cuts at characters that a path or a caption may hold.
    for line, match in enumerate(_LINE.finditer(content), start=first_line):
        if len(problems) >= MAX_PROBLEMS:
            return
        raw = match[0].rstrip(b"\r\n")
        try:
            row = raw.decode("utf-8").strip(_BLANKS)
        except UnicodeDecodeError as error:
            shown = raw.decode("utf-8", errors="backslashreplace")
            rule = f"byte {error.start + 1} is not UTF-8; save the file as UTF-8"
            problems.append(Problem(line, shown, rule))
            continue
        if any(character < " " and character != "\t" for character in row):
            problems.append(Problem(line, row, "holds a control character"))
        elif row:
            yield line, row


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
