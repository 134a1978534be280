"""NUS-WIDE as its archives hold it: lists of images, and a file of 0 and 1 for each concept.

Chua et al., "NUS-WIDE: A Real-World Web Image Database from National University of Singapore",
CIVR 2009. Rows of all files correspond by their number. The pictures are not among the archives.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from common.files import FileTooLargeError, read_whole
from datasets.files.list_files import ListEntry
from datasets.files.text_rows import (
    MAX_PROBLEMS,
    SHOWN_CHARACTERS,
    DataFileError,
    Problem,
    iter_rows,
)
from datasets.official.made_lists import OfficialSet

PICTURES = "Flickr"
CONCEPTS = ("ConceptsList/Concepts81.txt", "Concepts81.txt")  # where an archive's file may lie
TAGS = ("NUS_WID_Tags/TagList1k.txt", "TagList1k.txt")
_LISTS = {"train": "TrainImagelist.txt", "test": "TestImagelist.txt"}
_SPLITS = {"train": "Train", "test": "Test"}
_ONE = ord("1")
_MOST_TAGS = 1 << 30  # bytes: Train_Tags1k.dat has 162,000 rows of 2,000


def read_nus_wide(folder: Path) -> OfficialSet:
    """Read the official training and test images with those of the 81 concepts they show.

    Args:
        folder: holds the unpacked archives of lists, concepts and ground truth.

    Raises:
        FileNotFoundError: a file is absent.
        DataFileError: a file breaks its format, or has another number of rows than the list.
        OSError: a file cannot be read.
    """
    names = read_concepts(folder)
    splits = {}
    for split in _SPLITS:
        paths = _paths(folder, split)
        labels: list[list[int]] = [[] for _ in paths]
        for concept, name in enumerate(tqdm(names, f"NUS-WIDE {split}", unit="concept", delay=1)):
            for row in _present(_ground_truth(folder, name, split), len(paths)):
                labels[row].append(concept)
        splits[split] = [
            ListEntry(path, tuple(ids), line)
            for line, (path, ids) in enumerate(zip(paths, labels, strict=True), start=1)
        ]
    return OfficialSet(names, splits)


def read_nus_wide_tags(folder: Path) -> OfficialSet:
    """Read the images with the user tags that are no concept, and behind these the concepts.

    The classes of zero-shot work: the rows of TagList1k.txt that are not among the 81 concepts, in
    order, then the concepts. Tags are what people wrote, not what a picture shows.

    Args:
        folder: as in `read_nus_wide`, with the unpacked archive of tags.

    Raises:
        As `read_nus_wide`.
    """
    concepts = read_nus_wide(folder)
    tags = _words(_placed(folder, TAGS))
    unlike = {column: i for i, column in enumerate(_unlike(tags, set(concepts.names)))}
    splits = {}
    for split, entries in concepts.splits.items():
        path = _placed(folder, [f"NUS_WID_Tags/{_SPLITS[split]}_Tags1k.dat"])
        rows = _matrix(path, len(entries), len(tags))
        splits[split] = [
            entry._replace(
                labels=(
                    *(unlike[column] for column in row if column in unlike),
                    *(len(unlike) + label for label in entry.labels),
                )
            )
            for entry, row in zip(entries, rows, strict=True)
        ]
    names = [*(tags[column] for column in unlike), *concepts.names]
    return OfficialSet(names, splits, unseen=frozenset(concepts.names))


def read_concepts(folder: Path) -> list[str]:
    """Read the names of the concepts, in their order.

    Raises:
        FileNotFoundError: their file is absent.
        DataFileError: it breaks its format.
        OSError: it cannot be read.
    """
    return _words(_placed(folder, CONCEPTS))


def _unlike(tags: list[str], concepts: set[str]) -> list[int]:
    return [column for column, tag in enumerate(tags) if tag not in concepts]


def _placed(folder: Path, places: tuple[str, ...] | list[str]) -> Path:
    """The first of several places at which a file lies.

    Raises:
        FileNotFoundError: it lies at none.
    """
    for place in places:
        if (folder / place).is_file():
            return folder / place
    raise FileNotFoundError(f"there is no {' or '.join(places)}")


def _ground_truth(folder: Path, concept: str, split: str) -> Path:
    name = f"TrainTestLabels/Labels_{concept}_{_SPLITS[split]}.txt"
    return _placed(folder, [f"Groundtruth/{name}", name])


def _words(path: Path) -> list[str]:
    """Rows of a file of names, each once."""
    problems: list[Problem] = []
    lines: dict[str, int] = {}
    for line, row in iter_rows(path, problems):
        if row in lines:
            problems.append(Problem(line, row, f"is already on line {lines[row]}"))
        lines.setdefault(row, line)
    if not lines:
        problems.append(Problem(0, "", "the file holds no name"))
    if problems:
        raise DataFileError(path, problems)
    return list(lines)


def _paths(folder: Path, split: str) -> list[str]:
    """Pictures of a split; the official rows part folder and name by a backslash."""
    problems: list[Problem] = []
    path = _placed(folder, [f"ImageList/{_LISTS[split]}", _LISTS[split]])
    paths = []
    for line, row in iter_rows(path, problems):
        parts = row.replace("\\", "/").split("/")
        if len(parts) != 2 or not all(parts) or ".." in parts:
            problems.append(
                Problem(line, row, r"expected a folder and a name, as in 'a\0001_2.jpg'")
            )
        paths.append(f"{PICTURES}/{'/'.join(parts)}")
    if problems:
        raise DataFileError(path, problems)
    return paths


def _present(path: Path, images: int) -> list[int]:
    """Rows of a file of 0 and 1 that hold 1, counted from 0."""
    return [row for row, columns in enumerate(_matrix(path, images, 1)) if columns]


def _matrix(path: Path, images: int, columns: int) -> Iterator[list[int]]:
    """Columns that hold 1, counted from 0, of each row of a file of 0 and 1.

    Raises:
        DataFileError: the file has another number of rows; or one has another number of columns or
            anything but 0 and 1, after the rows before it have been given.
    """
    try:
        lines = read_whole(path, _MOST_TAGS).rstrip().split(b"\n")
    except FileTooLargeError as error:
        raise DataFileError(path, [Problem(0, "", str(error))]) from error
    if len(lines) != images:
        rule = f"it has {len(lines):,} rows, the list of images {images:,}"
        raise DataFileError(path, [Problem(0, "", rule)])
    problems = []
    for number, line in enumerate(lines, start=1):
        digits = line.translate(None, b" \t\r")
        if len(digits) != columns or digits.translate(None, b"01"):
            shown = line[: SHOWN_CHARACTERS + 1].decode(errors="backslashreplace").strip()
            rule = f"expected {columns} of 0 or 1, got {len(digits)} characters"
            problems.append(Problem(number, shown, rule))
            if len(problems) >= MAX_PROBLEMS:
                break
        elif not problems:
            yield [column for column, digit in enumerate(digits) if digit == _ONE]
    if problems:
        raise DataFileError(path, problems)
