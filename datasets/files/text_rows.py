"""Rows of plain-text files, and what is wrong with them.

Files are UTF-8, with or without a byte order mark; any line ending, trailing blanks and blank lines
are fine. What is wrong, up to `MAX_PROBLEMS` of it, is gathered and raised at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from common.files import MAX_BYTES, FileTooLargeError, open_regular, read_whole

SHOWN_PROBLEMS = 20
SHOWN_CHARACTERS = 100
MAX_PROBLEMS = 10_000  # after which a file is not read on: it is no list at all

BLANKS = " \t"
_PIECE = 1 << 20  # bytes whose rows are read at once
_MARK = b"\xef\xbb\xbf"  # UTF-8's byte order mark
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r|\Z)")


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
            row = raw.decode("utf-8").strip(BLANKS)
        except UnicodeDecodeError as error:
            shown = raw.decode("utf-8", errors="backslashreplace")
            rule = f"byte {error.start + 1} is not UTF-8; save the file as UTF-8"
            problems.append(Problem(line, shown, rule))
            continue
        if any(character < " " and character != "\t" for character in row):
            problems.append(Problem(line, row, "holds a control character"))
        elif row:
            yield line, row


def pieces_of(path: str | Path, most: int) -> Iterator[tuple[bytes, int]]:
    """Yield pieces of a file that end with a line, and the number of their first line.

    Args:
        path: the file.
        most: bytes that it may have.

    Raises:
        FileTooLargeError: it has more.
        OSError: it cannot be read.
    """
    with open_regular(path) as file:
        if (size := os.fstat(file.fileno()).st_size) > most:
            raise FileTooLargeError(f"{path} has {size:,} bytes, more than {most:,}")
        rest, line = file.read(_PIECE).removeprefix(_MARK), 1
        while rest:
            more = file.read(max(_PIECE, len(rest)))  # a long row is not copied again and again
            end = rest.rfind(b"\n") + 1 if more else len(rest)
            if end:
                content = rest[:end] if more or rest.endswith(b"\n") else rest + b"\n"
                yield content, line
                line += content.count(b"\n") + content.count(b"\r") - content.count(b"\r\n")
            rest = rest[end:] + more
