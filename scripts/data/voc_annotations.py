"""The rows of VOC-LT's test list from VOC 2007's own annotation files.

An object counts whether or not VOC marks it as difficult, as in the published list. (VOC 2007's own
protocol leaves difficult objects out.)
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from common.files import read_text
from datasets.files.list_files import ListEntry
from datasets.official.voc import YEAR_FOLDER, read_objects

_MAX_BYTES = 1 << 20  # of the 4,952 test images' names


def entries_from_annotations(folder: Path, names: list[str]) -> list[ListEntry]:
    """Read the classes of every VOC 2007 test image from its annotation file.

    Args:
        folder: the data set's folder, which holds VOCdevkit/VOC2007.
        names: the C class names, in the order of their ids.

    Returns:
        One entry per image of ImageSets/Main/test.txt, or, where that is absent, per annotation
        file. Labels are in the order in which the classes first appear in the file.

    Raises:
        FileNotFoundError: there is no annotation file, or one of a test image is absent.
        DataFileError: A file is no annotation, or names an unknown class.
    """
    base = folder / YEAR_FOLDER
    test_ids = base / "ImageSets" / "Main" / "test.txt"
    if test_ids.is_file():
        ids = read_text(test_ids, _MAX_BYTES).split()
    else:
        ids = sorted(path.stem for path in (base / "Annotations").glob("*.xml"))
    if not ids:
        raise FileNotFoundError(
            f"{base / 'Annotations'} holds no annotation files; they are in "
            "VOCtest_06-Nov-2007.tar, which this script fetches and unpacks."
        )
    entries = []
    for line, image in enumerate(ids, start=1):
        objects = read_objects(base / "Annotations" / f"{image}.xml", names)
        labels = dict.fromkeys(names.index(item.name) for item in objects)  # keeps the order
        entries.append(ListEntry(f"{YEAR_FOLDER}/JPEGImages/{image}.jpg", tuple(labels), line))
    return entries


def differences(
    published: Iterable[ListEntry], rebuilt: Iterable[ListEntry], names: list[str]
) -> list[str]:
    """Describe every image whose classes differ, or which is in one of the lists alone."""
    old, new = ({entry.path: entry for entry in entries} for entries in (published, rebuilt))
    lines = [f"{path}: only in the published list" for path in old if path not in new]
    lines += [f"{path}: not in the published list" for path in new if path not in old]
    for path, entry in old.items():
        if path in new and set(entry.labels) != set(new[path].labels):
            shown = [
                ", ".join(names[label] for label in sorted(labels)) or "nothing"
                for labels in (entry.labels, new[path].labels)
            ]
            lines.append(f"{path}: published {shown[0]}; annotated {shown[1]}")
    return lines
