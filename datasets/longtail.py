"""Long-tailed multi-label image sets read from lists.

Stock Dassl accepts them unchanged: a label is a float32 vector [C], and the classes come from the
label file rather than from the labels seen in training.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import numpy as np
from dassl.data.datasets import DatasetBase, Datum
from yacs.config import CfgNode

from datasets.captions import read_captions
from datasets.class_freq import read_class_freq
from datasets.layout import Layout
from datasets.list_files import DataFileError, ListEntry, Problem, read_labels, read_list

HEAD_COUNT = 100  # training images from which a class belongs to the head
TAIL_COUNT = 20  # training images below which it belongs to the tail
GROUPS = ("head", "medium", "tail")
SHOWN_PATHS = 3


def extend_cfg(cfg: CfgNode) -> None:
    """Declare the keys that this module reads."""
    cfg.DATASET.MISSING = "error"  # absent pictures: error | skip (train and test on the others)
    cfg.DATASET.CLASSNAMES = "clean"  # clean ("dining table") | raw, as in the label file
    cfg.DATASET.CAPTIONS = ""  # captions, text or json, under the data set's folder; "": its own
    cfg.DATASET.CAPTIONS_PREFIX = ""  # folder put before the paths in them, e.g. "train2017"


def group_of(count: int) -> str:
    """Return the group of a class: "head" (>= 100), "medium" (20..99) or "tail" (< 20).

    Args:
        count: Training images of the class.
    """
    if count >= HEAD_COUNT:
        return "head"
    return "medium" if count >= TAIL_COUNT else "tail"


class LongTailDataset(DatasetBase):
    """A multi-label data set defined by a label file and image lists.

    Classes without a training image stay classes. `Datum.label` is a float32 vector [C] of zeros
    and ones.

    Attributes:
        class_counts: Images of each class in the training list as used, int64 [C].
        groups: "head", "medium" or "tail" of each class, by `class_counts`.
        captions: Captions of each image in train_x, empty where there are none; None without a
            caption file.
        missing: Pictures that are listed but absent, by split ("train", "val", "test").
        clean_names: Readable wording of class names, set by subclasses: {name in file: name}.

    Args:
        cfg: Configuration; DATASET.ROOT and the keys of `extend_cfg` are read.
        layout: Where the files lie.

    Raises:
        ValueError: A key has an unknown value, or a file breaks its format (`DataFileError`).
        FileNotFoundError: A file is absent, or pictures are while DATASET.MISSING is "error".
    """

    clean_names: dict[str, str] = {}

    def __init__(self, cfg: CfgNode, layout: Layout) -> None:
        settings = cfg.DATASET
        _check_choice("DATASET.MISSING", settings.MISSING, ("error", "skip"))
        _check_choice("DATASET.CLASSNAMES", settings.CLASSNAMES, ("clean", "raw"))
        if settings.NUM_SHOTS > 0:
            raise ValueError(
                f"DATASET.NUM_SHOTS must be -1, got {settings.NUM_SHOTS}. Few-shot sampling draws "
                "images by their one class; a long-tailed set is used whole."
            )
        self.layout = layout
        self.dataset_dir = os.path.join(
            os.path.abspath(os.path.expanduser(settings.ROOT)), layout.folder
        )
        layout.check(self.dataset_dir, type(self).__name__)
        raw_names = read_labels(self._path(layout.labels))
        entries = self._read_lists(len(raw_names))
        self._check_class_freq(raw_names, entries["train"])
        used = self._drop_absent(entries, skip=settings.MISSING == "skip")

        if settings.CLASSNAMES == "clean":
            self._names = [self.clean_names.get(n, n).replace("_", " ") for n in raw_names]
        else:
            self._names = raw_names
        targets = {split: _multi_hot(rows, len(raw_names)) for split, rows in used.items()}
        self.class_counts = targets["train"].sum(axis=0, dtype=np.int64)  # [C]
        self.groups = [group_of(count) for count in self.class_counts]
        self.captions = self._join_captions(
            settings.CAPTIONS, settings.CAPTIONS_PREFIX, entries["train"], used["train"]
        )
        self._overlap = len({e.path for e in used["train"]} & {e.path for e in used["test"]})
        data = {
            split: [
                Datum(impath=self._path(entry.path), label=target)
                for entry, target in zip(rows, targets[split], strict=True)
            ]
            for split, rows in used.items()
        }
        super().__init__(train_x=data["train"], val=data.get("val"), test=data["test"])
        if cfg.VERBOSE:
            print(self.describe())

    def get_num_classes(self, data_source: list[Datum]) -> int:
        """Return C, also where the last classes have no training image."""
        return len(self._names)

    def get_lab2cname(self, data_source: list[Datum]) -> tuple[dict[int, str], list[str]]:
        """Return {id: name} and the names in the order of their ids."""
        return dict(enumerate(self._names)), list(self._names)

    def describe(self) -> str:
        """Return a summary of a few lines: images, labels, groups, captions, oddities."""
        sizes = ", ".join(f"{group} {self.groups.count(group)}" for group in GROUPS)
        lines = [
            f"{type(self).__name__} in {self.dataset_dir}",
            f"  {self.num_classes} classes ({sizes}), "
            f"{self.class_counts.min()} to {self.class_counts.max()} training images each",
        ]
        for split, data in (("train", self.train_x), ("val", self.val), ("test", self.test)):
            if data:
                per_image = np.array([item.label.sum() for item in data])
                line = (
                    f"  {split}: {len(data)} images, {per_image.mean():.2f} labels per image, "
                    f"{int((per_image == 0).sum())} without labels"
                )
                absent = self.missing[split]
                lines.append(line + (f"; {absent} absent pictures skipped" if absent else ""))
        if self.captions is None:
            lines.append("  captions: none, there is no caption file")
        else:
            joined = sum(bool(texts) for texts in self.captions)
            lines.append(f"  captions: for {joined} of {len(self.captions)} training images")
        if unseen := int((self.class_counts == 0).sum()):
            lines.append(f"  warning: {unseen} classes have no training image")
        if self._overlap:
            lines.append(f"  warning: {self._overlap} images are in both train and test")
        return "\n".join(lines)

    def _path(self, name: str) -> str:
        return os.path.join(self.dataset_dir, name)

    def _read_lists(self, num_classes: int) -> dict[str, list[ListEntry]]:
        names = {
            "train": self.layout.train_list,
            "val": self.layout.val_list,
            "test": self.layout.test_list,
        }
        return {
            split: read_list(self._path(name), num_classes)
            for split, name in names.items()
            if name and os.path.isfile(self._path(name))
        }

    def _check_class_freq(self, names: list[str], entries: list[ListEntry]) -> None:
        """Compare the published counts with those of the whole training list."""
        if not self.layout.class_freq or not os.path.isfile(self._path(self.layout.class_freq)):
            return
        path = self._path(self.layout.class_freq)
        published = read_class_freq(path)
        counted = _multi_hot(entries, len(names)).sum(axis=0, dtype=np.int64)  # [C]
        if len(published) != len(names):
            problems = [Problem(0, "", f"it has {len(published)} counts for {len(names)} classes")]
        else:
            problems = [
                Problem(0, name, f"{published[c]} published, {counted[c]} in the training list")
                for c, name in enumerate(names)
                if published[c] != counted[c]
            ]
        if problems:
            raise DataFileError(
                path,
                problems,
                f"{self.layout.train_list} is not the published list, or this file belongs to "
                "another one; remove this file to go by the list.",
            )

    def _drop_absent(
        self, entries: dict[str, list[ListEntry]], skip: bool
    ) -> dict[str, list[ListEntry]]:
        """Return the images whose pictures exist; `missing` is set on the way."""
        used, absent, counts = {}, [], []
        self.missing = {}
        for split, rows in entries.items():
            used[split] = [entry for entry in rows if os.path.isfile(self._path(entry.path))]
            self.missing[split] = len(rows) - len(used[split])
            kept = set(used[split])
            absent += [entry.path for entry in rows if entry not in kept]
            counts.append(f"{self.missing[split]} of {len(rows)} {split} pictures")
        nothing_left = [split for split, rows in used.items() if not rows]
        if absent and (nothing_left or not skip):
            shown = "\n".join(f"  {self._path(path)}" for path in absent[:SHOWN_PATHS])
            if nothing_left:
                advice = f"None is left for {' and '.join(nothing_left)}."
            else:
                advice = "To use those that are there only, set DATASET.MISSING skip."
            raise FileNotFoundError(
                f"{type(self).__name__}: {', '.join(counts)} are absent, beginning with\n{shown}\n"
                f"docs/data.md tells where to get them. {advice}"
            )
        return used

    def _join_captions(
        self, chosen: str, prefix: str, listed: list[ListEntry], used: list[ListEntry]
    ) -> list[list[str]] | None:
        """Return the captions of each used training image, or None without a caption file."""
        name = chosen or self.layout.captions
        if not name or not (chosen or os.path.isfile(self._path(name))):
            return None
        path = Path(self._path(os.path.expanduser(name)))
        if not path.is_file():
            raise FileNotFoundError(f"DATASET.CAPTIONS: there is no file {path}")
        captions = read_captions(path, prefix)
        if not any(entry.path in captions for entry in listed):
            raise ValueError(
                f"{path}: no caption belongs to an image of {self.layout.train_list}. Its paths "
                f"begin with {next(iter(captions))!r}, those of the list with {listed[0].path!r}; "
                "DATASET.CAPTIONS_PREFIX puts a folder before the former."
            )
        return [captions.get(entry.path, []) for entry in used]


def _multi_hot(entries: list[ListEntry], num_classes: int) -> np.ndarray:
    targets = np.zeros((len(entries), num_classes), dtype=np.float32)  # [N, C]
    for target, entry in zip(targets, entries, strict=True):
        target[list(entry.labels)] = 1.0
    return targets


def _check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        nearest = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"{key} must be one of {', '.join(choices)}, got {value!r}. Did you mean {nearest!r}?"
        )
