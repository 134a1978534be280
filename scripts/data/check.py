"""Compare a data set's folder with what was published; the network is never touched."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from common.files import read_whole
from common.groups import GROUPS, group_of
from common.readers.picture_files import open_picture
from datasets.base.layout import Layout
from datasets.files.captions import read_captions
from datasets.files.class_freq import read_class_freq
from datasets.files.list_files import ListEntry, read_labels, read_list
from datasets.files.text_rows import DataFileError
from datasets.official.made_lists import lists_of
from datasets.official.voc import labels_digest
from scripts.data.sources import Facts, Published, Source

OK, ABSENT, INCOMPLETE, WRONG, OPTIONAL = "ok", "absent", "incomplete", "wrong", "optional"


class Row(NamedTuple):
    """One line of the table."""

    item: str
    state: str
    detail: str

    @property
    def good(self) -> bool:
        """Whether nothing has to be done about it."""
        return self.state in (OK, OPTIONAL)


def check(source: Source, folder: Path) -> list[Row]:
    """Compare a data set's folder with the published files and counts.

    Args:
        source: what was published.
        folder: ROOT/voc or ROOT/coco.

    Returns:
        A row for every file, the groups, the captions and the pictures of each split.
    """
    layout, facts = source.layout, source.facts
    names, lists = read_lists(source, folder)
    details = {layout.labels: f"{len(names)} classes"} if names else {}
    for split, name in (("train", layout.train_list), ("test", layout.test_list)):
        if split in lists:
            details[name] = _count_detail(lists[split])
    made = () if source.read is None else lists_of(layout).values()
    rows = [_made_row(folder / name, details.get(name, "")) for name in made]
    rows += [
        _file_row(folder / name, published, name == layout.class_freq, details.get(name, ""))
        for name, published in source.files.items()
    ]
    if "train" in lists:
        counts = Counter(label for entry in lists["train"] for label in entry.labels)
        rows += _count_rows(source, folder, names, counts)
        if layout.captions:
            rows += _caption_rows(folder, layout, lists["train"])
    for split in ("train", "test"):
        if split not in lists:
            rows.append(Row(f"{split} pictures", ABSENT, "cannot be counted without the list"))
            continue
        entries = lists[split]
        rows += _list_rows(facts, split, entries)
        paths = [layout.picture(str(folder), entry.path) for entry in entries]
        rows.append(_picture_row(f"{split} pictures", folder, paths))
    if facts.digest and "test" in lists:
        same = labels_digest(lists["test"]) == facts.digest
        rows.append(Row("test labels", OK if same else WRONG, "SHA256 of those in TaI-DPT's files"))
    return rows


def read_lists(source: Source, folder: Path) -> tuple[list[str], dict[str, list[ListEntry]]]:
    """Class names and the lists by split, as far as they are there and can be read."""
    lists = {}
    try:
        names = read_labels(folder / source.layout.labels)
    except (OSError, DataFileError):
        return [], {}
    for split, name in (("train", source.layout.train_list), ("test", source.layout.test_list)):
        try:
            lists[split] = read_list(folder / name, len(names))
        except (OSError, DataFileError):
            continue  # the row of the file tells whether it is absent or wrong
    return names, lists


def same_as_published(path: Path, published: Published) -> bool:
    """Whether a small file is the published one, whatever its line endings."""
    content = read_whole(path)
    unix = content.replace(b"\r\n", b"\n")
    versions = (content, unix, unix.replace(b"\n", b"\r\n"))
    return any(hashlib.sha256(version).hexdigest() == published.checksum for version in versions)


def is_picture(path: str | Path) -> bool:
    """Whether a file that begins like a picture lies there."""
    try:
        with open_picture(path):
            return True
    except Exception:  # a damaged header may make Pillow raise nearly anything
        return False


def _file_row(path: Path, published: Published, optional: bool, detail: str) -> Row:
    if not path.is_file():
        return Row(path.name, OPTIONAL if optional else ABSENT, "absent" if optional else "")
    if same_as_published(path, published):
        return Row(path.name, OK, detail)
    note = "not as published; remove it to fetch it again"
    return Row(path.name, WRONG, f"{detail}; {note}" if detail else note)


def _made_row(path: Path, detail: str) -> Row:
    return Row(path.name, OK if path.is_file() else ABSENT, detail)


def _list_rows(facts: Facts, split: str, entries: list[ListEntry]) -> Iterator[Row]:
    """A row for a list whose counts, as far as they are known, are others."""
    published = {
        "images": getattr(facts, split),
        "labels": getattr(facts, f"{split}_labels"),
        "images with labels": facts.labelled.get(split),
    }
    labels = [len(entry.labels) for entry in entries]
    found = dict(zip(published, (len(labels), sum(labels), sum(map(bool, labels))), strict=True))
    known = {what: number for what, number in published.items() if number is not None}
    if any(found[what] != number for what, number in known.items()):
        told = ", ".join(f"{number:,} {what}" for what, number in known.items())
        yield Row(f"{split} list", WRONG, f"published were {told}")


def _count_detail(entries: list[ListEntry]) -> str:
    bare = sum(not entry.labels for entry in entries)
    labels = sum(len(entry.labels) for entry in entries)
    without = f", {bare} images without" if bare else ""
    return f"{len(entries):,} images, {labels:,} labels{without}"


def _count_rows(
    source: Source, folder: Path, names: list[str], counts: Counter[int]
) -> Iterator[Row]:
    per_class = [counts[c] for c in range(len(names))]
    groups = Counter(group_of(count) for count in per_class)
    detail = ", ".join(f"{groups[group]} {group}" for group in GROUPS)
    detail += f"; {min(per_class):,} to {max(per_class):,} training images a class"
    published_groups = source.facts.groups
    as_published = published_groups is None or dict(groups) == published_groups
    yield Row("groups", OK if as_published else WRONG, detail)
    path = folder / (source.layout.class_freq or "")
    if not path.is_file():
        return
    try:
        published = read_class_freq(path).tolist()
    except DataFileError as error:
        yield Row("class counts", WRONG, str(error).splitlines()[1].strip())
        return
    differing = [name for name, n, m in zip(names, per_class, published, strict=False) if n != m]
    if len(published) != len(names):
        yield Row("class counts", WRONG, f"{len(published)} published for {len(names)} classes")
    elif differing:
        yield Row("class counts", WRONG, f"differ from class_freq.pkl: {', '.join(differing)}")
    else:
        yield Row("class counts", OK, f"all {len(names)} as in class_freq.pkl")


def _caption_rows(folder: Path, layout: Layout, entries: list[ListEntry]) -> Iterator[Row]:
    try:
        captions = read_captions(folder / layout.captions, layout.captions_prefix)
    except OSError:
        return  # the file has its own row
    except DataFileError as error:
        yield Row("captions", WRONG, str(error).splitlines()[1].strip())
        return
    joined = sum(entry.path in captions for entry in entries)
    state = OK if joined == len(entries) else INCOMPLETE
    yield Row("captions", state, f"for {joined:,} of {len(entries):,} training images")


def _picture_row(item: str, folder: Path, paths: list[str]) -> Row:
    broken = present = 0
    for path in paths:
        if is_picture(folder / path):
            present += 1
        elif (folder / path).exists():
            broken += 1
    detail = f"{present:,} of {len(paths):,}"
    if broken:
        return Row(item, WRONG, f"{detail}; {broken:,} are damaged")
    if present == len(paths):
        return Row(item, OK, detail)
    return Row(item, INCOMPLETE if present else ABSENT, detail)
