"""Lists that are made once of a data set's official files, and read from then on.

Parsing them takes up to a minute, and 1.5 GB of memory for COCO; reading a list takes a second.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common.files import write_text
from datasets.base.layout import Layout
from datasets.files.list_files import ListEntry


@dataclass(frozen=True)
class OfficialSet:
    """What a data set's official files say.

    Attributes:
        names: the C class names, in the order of their ids.
        splits: images of "train" and "test", in the official order, unlabelled ones among them.
        difficult: by split, images with the classes of which they show difficult objects alone.
        unseen: names of the classes whose labels training does not see.
    """

    names: Sequence[str]
    splits: Mapping[str, Sequence[ListEntry]]
    difficult: Mapping[str, Sequence[ListEntry]] = field(default_factory=dict)
    unseen: Collection[str] = ()


Reader = Callable[[Path], OfficialSet]


def lists_of(layout: Layout) -> dict[str, str]:
    """The names of the files that are made for a layout, by what they hold."""
    own = {"labels": layout.labels, "train": layout.train_list, "test": layout.test_list}
    own |= {"class split": layout.class_split} if layout.class_split else {}
    return own | {f"difficult {split}": name for split, name in layout.difficult.items()}


def ensure_lists(folder: str | Path, layout: Layout, read: Reader, advice: str) -> bool:
    """Make a data set's lists of its official files, unless all are there.

    Every list is written whole, and the same files always give the same lists, so that runs that
    start together do no harm.

    Args:
        folder: the data set's folder.
        layout: names of the lists.
        read: reads the official files in that folder.
        advice: how to get the official files, for the message.

    Returns:
        Whether lists were written.

    Raises:
        FileNotFoundError: lists are absent, and official files too.
        DataFileError: an official file breaks its format.
        OSError: a file cannot be read or written.
    """
    folder, lists = Path(folder), lists_of(layout)
    absent = [name for name in lists.values() if not (folder / name).is_file()]
    if not absent:
        return False
    try:
        content = read(folder)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{', '.join(absent)} not found in {folder}, nor all that they are made of: {error}\n"
            f"{advice}"
        ) from error
    words = ((name, "unseen" if name in content.unseen else "seen") for name in content.names)
    rows = {
        "labels": "".join(f"{name} {i}\n" for i, name in enumerate(content.names)),
        "class split": "".join(f"{name} {word}\n" for name, word in words),
    }
    for kind, name in lists.items():
        split = kind.removeprefix("difficult ")
        entries = (content.splits if split == kind else content.difficult).get(split, ())
        write_text(folder / name, rows.get(kind) or "".join(map(_row, entries)))
    return True


def dataset_folder(root: str, layout: Layout) -> Path:
    """Where a data set's folder lies on this machine, below DATASET.ROOT."""
    return Path(os.path.abspath(os.path.expanduser(root)), layout.folder)


def _row(entry: ListEntry) -> str:
    return " ".join([entry.path, *map(str, entry.labels)]) + "\n"
