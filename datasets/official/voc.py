"""PASCAL VOC 2007 as its archives hold it: names of images, and an XML file of objects for each.

Everingham et al., "The PASCAL Visual Object Classes Challenge 2007". An object may be marked as
difficult; VOC's own classification task leaves these out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from tqdm import tqdm

from common.choices import hint
from common.files import FileTooLargeError, read_whole
from datasets.files.list_files import ListEntry
from datasets.files.text_rows import SHOWN_PROBLEMS, DataFileError, Problem, iter_rows
from datasets.official.made_lists import OfficialSet

YEAR_FOLDER = "VOCdevkit/VOC2007"
NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)

# Of the test labels, `labels_digest`: the file val.txt that TaI-DPT's authors published.
TEST_LABELS = "325e0b173c30953bf1e623a51dc2c4fcdaf81f54c7efc6a18e828d698a3842bb"

_MAX_BYTES = 1 << 20  # of an annotation
_ID = re.compile(r"\w+")
_TEXTS = ("name", "difficult")  # of an object, that are read


class VocObject(NamedTuple):
    """An object of an image: its class, whether it is difficult, and its line in the file."""

    name: str
    difficult: bool
    line: int


def read_voc2007(folder: Path) -> OfficialSet:
    """Read the trainval and test images of VOC 2007 with their classes.

    Args:
        folder: holds VOCdevkit/VOC2007 with Annotations and ImageSets/Main.

    Raises:
        FileNotFoundError: a list of images or an annotation is absent.
        DataFileError: a file breaks its format, or names an unknown class.
        OSError: a file cannot be read.
    """
    splits, difficult = {}, {}
    for split, name in (("train", "trainval"), ("test", "test")):
        pairs = _images(folder / YEAR_FOLDER, name)
        splits[split] = [present for present, _ in pairs]
        difficult[split] = [hard for _, hard in pairs if hard.labels]
    return OfficialSet(NAMES, splits, difficult)


def labels_digest(entries: Iterable[ListEntry]) -> str:
    """SHA256 of the labels as TaI-DPT's authors write them: 1 or -1 for each class, by commas.

    Args:
        entries: images, in the official order.
    """
    rows = (",".join("1" if c in e.labels else "-1" for c in range(len(NAMES))) for e in entries)
    return hashlib.sha256("".join(f"{row}\n" for row in rows).encode()).hexdigest()


def read_objects(path: Path, names: Sequence[str]) -> list[VocObject]:
    """Read the objects of an annotation file, in its order; parts of objects do not count.

    Args:
        path: an XML file of VOC.
        names: the class names; others are refused.

    Raises:
        DataFileError: it is larger than an annotation, no XML, declares entities, or an object has
            an unknown class or a `difficult` that is neither 0 nor 1.
        OSError: it cannot be read.
    """
    objects = _AnnotationParser(path).objects
    problems = []
    for item in objects:
        if item["name"] not in names:
            shown = len(problems) < SHOWN_PROBLEMS  # a hint takes a while
            rule = f"is not a class.{hint(item['name'], names) if shown else ''}"
            problems.append(Problem(item["line"], item["name"], rule))
        if item["difficult"] not in ("", "0", "1"):
            problems.append(Problem(item["line"], item["difficult"], "difficult must be 0 or 1"))
    if problems:
        raise DataFileError(path, problems)
    return [VocObject(item["name"], item["difficult"] == "1", item["line"]) for item in objects]


def _images(base: Path, name: str) -> list[tuple[ListEntry, ListEntry]]:
    """Every image of a list: its classes, and those of which all objects are difficult."""
    path, problems, ids = base / "ImageSets" / "Main" / f"{name}.txt", [], []
    for line, row in iter_rows(path, problems):
        if _ID.fullmatch(row):
            ids.append(row)
        else:
            problems.append(Problem(line, row, "expected the name of an image, as in '000005'"))
    if problems:
        raise DataFileError(path, problems)
    pairs = []
    for line, image in enumerate(tqdm(ids, f"VOC 2007 {name}", unit="image", delay=1), start=1):
        picture = f"{YEAR_FOLDER}/JPEGImages/{image}.jpg"
        objects = read_objects(base / "Annotations" / f"{image}.xml", NAMES)
        easy = {NAMES.index(item.name) for item in objects if not item.difficult}
        hard = {NAMES.index(item.name) for item in objects} - easy
        pairs.append(
            tuple(ListEntry(picture, tuple(sorted(labels)), line) for labels in (easy, hard))
        )
    return pairs


class _AnnotationParser:
    """Texts of every `annotation/object`; expat, as ElementTree does not tell lines."""

    def __init__(self, path: Path) -> None:
        self.objects: list[dict] = []
        self._place: list[str] = []
        self._parser = parser = expat.ParserCreate()
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler, parser.EntityDeclHandler = self._text, self._entity
        parser.buffer_text = True
        try:
            parser.Parse(read_whole(path, _MAX_BYTES), True)
        except expat.ExpatError as error:
            raise DataFileError(path, [Problem(error.lineno, "", f"not XML: {error}")]) from error
        except FileTooLargeError as error:
            raise DataFileError(path, [Problem(0, "", str(error))]) from error
        except _AnnotationError as error:
            raise DataFileError(path, [error.problem]) from error

    def _start(self, tag: str, _: object) -> None:
        self._place.append(tag)
        if len(self._place) == 1 and tag != "annotation":
            self._refuse(f"expected an annotation, got {tag!r}")
        if self._in_object(2):
            line = self._parser.CurrentLineNumber
            self.objects.append({"name": "", "difficult": "", "line": line})

    def _end(self, _: str) -> None:
        if self._in_object(2):
            self.objects[-1].update({key: self.objects[-1][key].strip() for key in _TEXTS})
        self._place.pop()

    def _text(self, text: str) -> None:
        if self._in_object(3) and self._place[2] in _TEXTS:
            self.objects[-1][self._place[2]] += text

    def _in_object(self, depth: int) -> bool:
        return len(self._place) == depth and self._place[1] == "object"

    def _entity(self, *_: object) -> None:
        self._refuse("declares an entity, which no annotation needs and which might grow")

    def _refuse(self, rule: str) -> None:
        raise _AnnotationError(Problem(self._parser.CurrentLineNumber, "", rule))


class _AnnotationError(ValueError):
    """What is XML, but no annotation."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem
