"""Readers of the plain-text files that define a multi-label data set.

A label file has rows `name id`, an image list has rows `path id id ...`. Both are UTF-8, with or
without a byte order mark; any line ending, trailing blanks and blank lines are fine. All that is
wrong in a file, up to `MAX_PROBLEMS` of it, is gathered and raised at once.

A file may have `common.files.MAX_BYTES`; its rows are read one after the other.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from common.files import FileTooLargeError, read_whole

SHOWN_PROBLEMS = 20
SHOWN_CHARACTERS = 100
MAX_PROBLEMS = 10_000  # after which a file is not read on: it is no list at all
_SHOWN_RULES = 3  # that one row breaks

_BLANKS = " \t"
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


class ListEntry(NamedTuple):
    """One image of a list.

    Attributes:
        path: picture, relative to the folder of the data set.
        labels: ids of the classes present, in the order of the file; may be empty.
        line: line number in the list, counted from 1.
    """

    path: str
    labels: tuple[int, ...]
    line: int


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
    """Read an image list with rows `path id id ...`.

    An image without labels is a row without ids. See `split_path` for paths that hold blanks.

    Args:
        path: the file.
        num_classes: C; every id must be in 0..C-1.

    Returns:
        The images, in the order of the file.

    Raises:
        DataFileError: an id is not an integer, negative, unknown or repeated in its row, an image
            is repeated, fields are not parted by blanks, or the file holds no row.
        OSError: the file cannot be read.
    """
    problems: list[Problem] = []
    entries: list[ListEntry] = []
    first_lines: dict[str, int] = {}
    for line, row in iter_rows(path, problems):
        picture, rest = split_path(row)
        words = rest.split()
        rules = [rule for word in words if (rule := _broken_id_rule(word, num_classes))]
        labels = () if rules else tuple(int(word) for word in words)
        repeated = sorted(label for label, times in Counter(labels).items() if times > 1)
        rules += [f"id {label} is repeated" for label in repeated]
        if _PATH_AND_COMMA.match(row) and not _PATH_WITH_SUFFIX.match(row):
            rules = ["path and ids are parted by blanks, as in 'a.jpg 3 7', not by commas"]
        place = posixpath.normpath(picture)
        if place in first_lines:
            rules.append(f"the path is already listed on line {first_lines[place]}")
        first_lines.setdefault(place, line)
        if rules:
            problems.append(Problem(line, row, _joined(rules)))
        else:
            entries.append(ListEntry(picture, labels, line))
    if problems:
        raise DataFileError(path, problems)
    if not entries:
        rule = "the file is empty; expected rows 'path id id ...'"
        raise DataFileError(path, [Problem(0, "", rule)])
    return entries


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


def iter_rows(path: str | Path, problems: list[Problem]) -> Iterator[tuple[int, str]]:
    """Yield the rows of a text file that are not blank.

    Args:
        path: the file.
        problems: rows that are not UTF-8 or hold control characters are added here, not yielded.
            Once it holds `MAX_PROBLEMS`, whoever found them, no more rows follow.

    Yields:
        Line number, counted from 1, and the row without blanks at its ends.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        content = read_whole(path).removeprefix(b"\xef\xbb\xbf")
    except FileTooLargeError as error:
        problems.append(Problem(0, "", str(error)))
        return
    # Not str.splitlines, which also cuts at characters that a path or a caption may hold.
    for line, match in enumerate(_LINE.finditer(content), start=1):
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
