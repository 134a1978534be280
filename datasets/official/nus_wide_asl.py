"""The NUS-WIDE of ASL, in one table: images that show a concept and whose pictures were left.

Ridnik et al., "Asymmetric Loss for Multi-Label Classification", ICCV 2021; used by SPLC and SCPNet
too. Its file nus_wid_data.csv has a header and rows `path, "['clouds', 'sky']", train or val`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from common.choices import hint
from common.files import read_text
from datasets.files.list_files import ListEntry
from datasets.files.text_rows import MAX_PROBLEMS, SHOWN_PROBLEMS, DataFileError, Problem
from datasets.official.made_lists import OfficialSet
from datasets.official.nus_wide import read_concepts

TABLE = "nus_wid_data.csv"

_SPLITS = {"train": "train", "val": "test"}  # ASL evaluates on "val"
_LABELS = re.compile(r"\[\s*('[^']*'(\s*,\s*'[^']*')*)?\s*\]")
_NAME = re.compile(r"'([^']*)'")


def read_nus_wide_asl(folder: Path) -> OfficialSet:
    """Read ASL's table of training and test images.

    Args:
        folder: holds nus_wid_data.csv and the official list of concepts.

    Raises:
        FileNotFoundError: one of them is absent.
        DataFileError: one breaks its format.
        OSError: one cannot be read.
    """
    names = read_concepts(folder)
    path = folder / TABLE
    ids = {name: index for index, name in enumerate(names)}
    splits: dict[str, list[ListEntry]] = {split: [] for split in _SPLITS.values()}
    problems: list[Problem] = []
    try:
        rows = csv.reader(io.StringIO(read_text(path), newline=""))
        next(rows, None)  # the header
        for row in filter(None, rows):
            rule = _broken_rule(row, ids, len(problems) < SHOWN_PROBLEMS)
            if rule:
                problems.append(Problem(rows.line_num, ",".join(row), rule))
                if len(problems) >= MAX_PROBLEMS:
                    break
                continue
            labels = tuple(sorted({ids[name] for name in _NAME.findall(row[1])}))
            splits[_SPLITS[row[2]]].append(ListEntry(row[0], labels, rows.line_num))
    except csv.Error as error:
        problems.append(Problem(rows.line_num, "", str(error)))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no {TABLE}") from error
    except ValueError as error:
        problems.append(Problem(0, "", str(error)))
    if not problems and not all(splits.values()):
        problems.append(Problem(0, "", "it needs rows of train and of val"))
    if problems:
        raise DataFileError(path, problems)
    return OfficialSet(names, splits)


def _broken_rule(row: Sequence[str], ids: dict[str, int], hints: bool) -> str:
    """The rule that a row breaks, or an empty text."""
    if len(row) != 3 or row[2] not in _SPLITS or not _LABELS.fullmatch(row[1]):
        return "expected a path, labels as \"['clouds', 'sky']\", and train or val"
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", row[0]) or ".." in row[0].split("/"):
        return f"{row[0]!r} is no path below the folder"
    for name in _NAME.findall(row[1]):
        if name not in ids:
            return f"{name!r} is no concept.{hint(name, ids) if hints else ''}"
    return ""
