"""The images of each split: as listed, and those of them that are used."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection

import numpy as np

from common.sparse_targets import ClassLists, SparseTargets
from datasets.base.class_split import ClassSplit
from datasets.base.layout import Layout
from datasets.base.subsets import few_shot, hold_out
from datasets.files.image_list import ImageList
from datasets.files.list_files import read_images

DIFFICULT_RULES = ("negative", "ignore", "positive")
_SHOWN_PATHS = 3

Images = dict[str, ImageList]  # by split


class Splits:
    """Images of "train", "test" and, where there is a list of them, "val".

    Every method leaves fewer images in `used`, or moves some from split to split.

    Args:
        layout: where the lists lie.
        folder: the data set's folder; paths in lists start there.
        num_classes: C.

    Attributes:
        listed: all images of the lists.
        used: those that are used, in the order of their list.
        missing: number of images without a picture that were left out, by split.
        ignored: classes that are neither present nor absent in an image, by its path.
        hidden: classes whose labels nothing but the test sees.
        notes: what was done, for people.

    Raises:
        DataFileError: a list breaks its format.
    """

    def __init__(self, layout: Layout, folder: str, num_classes: int) -> None:
        self.layout, self.folder, self.num_classes = layout, folder, num_classes
        names = {"train": layout.train_list, "val": layout.val_list, "test": layout.test_list}
        self.listed: Images = {
            split: read_images(self.path(name), num_classes)
            for split, name in names.items()
            if name and os.path.isfile(self.path(name))
        }
        self.used = dict(self.listed)
        self.missing = dict.fromkeys(self.listed, 0)
        self.ignored: dict[str, tuple[int, ...]] = {}
        self.hidden: list[int] = []
        self.notes: list[str] = []

    def path(self, name: str) -> str:
        """Where a file of the data set lies."""
        return os.path.join(self.folder, name)

    def picture(self, path: str) -> str:
        """Where a picture of a list lies."""
        return self.layout.picture(self.folder, path)

    def targets(self) -> dict[str, SparseTargets]:
        """Targets of the used images by split: 1 present, 0 absent, -1 ignored."""
        targets = {}
        for split, rows in self.used.items():
            unknown = None
            if self.ignored:
                unknown = ClassLists.of([self.ignored.get(path, ()) for path in rows.paths])
            hidden = () if split == "test" else self.hidden
            targets[split] = SparseTargets(rows.labels, self.num_classes, unknown, hidden)
        return targets

    def count_difficult(self, dataset: str, rule: str) -> None:
        """Count classes of which an image shows difficult objects alone; so far they are absent.

        Args:
            dataset: name of the data set, for the message.
            rule: DATASET.DIFFICULT, one of `DIFFICULT_RULES`.

        Raises:
            ValueError: the data set marks no object as difficult.
            DataFileError: a list of them breaks its format.
            OSError: it cannot be read.
        """
        if rule == "negative":
            return
        if not self.layout.difficult:
            raise ValueError(
                f"DATASET.DIFFICULT is {rule}, but {dataset} marks no object as difficult. Leave "
                "the key at negative."
            )
        number = 0
        for split, name in self.layout.difficult.items():
            rows = read_images(self.path(name), self.num_classes)
            labels = {entry.path: entry.labels for entry in rows}
            number += sum(map(len, labels.values()))
            if rule == "ignore":
                self.ignored.update(labels)
            else:
                self.listed[split] = self.used[split] = ImageList.of(
                    entry._replace(labels=(*entry.labels, *labels.get(entry.path, ())))
                    for entry in self.listed[split]
                )
        meaning = "are ignored" if rule == "ignore" else "count as present"
        self.notes.append(f"{number} labels of difficult objects alone {meaning} (DIFFICULT)")

    def keep_classes(self, classes: ClassSplit) -> None:
        """Keep some of the classes, and the images that show one whose labels their split sees.

        Ids are those among the classes kept from then on.

        Args:
            classes: the classes, and which of them training sees.
        """
        columns = np.full(self.num_classes, -1)
        columns[list(classes.kept)] = np.arange(len(classes.kept))
        self.hidden = [i for i, seen in enumerate(classes.seen) if not seen]
        self.num_classes = len(classes.kept)
        self.ignored = {
            path: tuple(new for new in columns[list(labels)].tolist() if new >= 0)
            for path, labels in self.ignored.items()
        }
        seen = np.where(np.isin(columns, self.hidden), -1, columns)
        for split, rows in self.used.items():
            labels = rows.labels.renamed(columns if split == "test" else seen)
            named = ImageList(rows.paths, labels, rows.lines)
            self.used[split] = named.take(labels.sizes() > 0)
            if dropped := len(rows) - len(self.used[split]):
                self.notes.append(f"{dropped} {split} images without these classes left out")

    def drop_unlabelled(self) -> None:
        """Leave out the images in which no class is present."""
        for split, rows in self.used.items():
            self.used[split] = rows.take(rows.labels.sizes() > 0)
            if dropped := len(rows) - len(self.used[split]):
                self.notes.append(f"{dropped} {split} images without labels left out (UNLABELED)")

    def drop_absent(self, dataset: str, skip: bool, unread: Collection[str] = ()) -> None:
        """Leave out the images whose pictures are absent.

        Where nobody looks at a split's pictures all of them may be absent, or with `skip` all or
        none: those that are there then decide, as they do where somebody looks.

        Args:
            dataset: name of the data set, for the message.
            skip: whether pictures may be absent.
            unread: splits whose pictures nobody looks at.

        Raises:
            FileNotFoundError: pictures are absent and may not be, or a split has none left.
        """
        absent, counts = [], []
        for split, rows in self.used.items():
            found = (os.path.isfile(self.picture(path)) for path in rows.paths)
            there = np.fromiter(found, dtype=bool, count=len(rows))
            if split in unread and not (skip and there.any()):
                there[:] = True
            absent += [rows.paths[place] for place in np.flatnonzero(~there)[:_SHOWN_PATHS]]
            self.used[split] = rows if there.all() else rows.take(there)
            self.missing[split] = int((~there).sum())
            counts.append(f"{self.missing[split]} of {len(rows)} {split} pictures")
        nothing_left = [split for split, rows in self.used.items() if not len(rows)]
        if absent and (nothing_left or not skip):
            shown = "\n".join(f"  {self.path(path)}" for path in absent[:_SHOWN_PATHS])
            if nothing_left:
                advice = f"None is left for {' and '.join(nothing_left)}."
            else:
                advice = "To use those that are there only, set DATASET.MISSING skip."
            raise FileNotFoundError(
                f"{dataset}: {', '.join(counts)} are absent, beginning with\n{shown}\n"
                f"{self.layout.pictures_from} {advice}"
            )

    def hold_out(self, fraction: float, seed: int) -> None:
        """Move a stratified share of the training images to "val".

        Args:
            fraction: DATASET.VAL_FRACTION, above 0.
            seed: the run's seed.

        Raises:
            ValueError: there is a validation list, or so small a share holds no image out.
        """
        if "val" in self.used:
            raise ValueError(
                f"DATASET.VAL_FRACTION is {fraction:g}, but there is a validation list, "
                f"{self.path(self.layout.val_list)}. Set it to 0, or remove the list."
            )
        self.used["train"], self.used["val"] = self._divide(hold_out, fraction, seed)
        if not len(self.used["val"]):
            raise ValueError(
                f"DATASET.VAL_FRACTION {fraction:g} of {len(self.used['train'])} training images "
                "holds none out. Raise it, or set it to 0."
            )
        rule = f"VAL_FRACTION {fraction:g}, seed {seed}"
        self.notes.append(f"val is a stratified hold-out of the training list ({rule})")

    def keep_shots(self, shots: int, seed: int) -> None:
        """Keep a few training images of every class.

        Args:
            shots: DATASET.NUM_SHOTS, above 0.
            seed: the run's seed.
        """
        listed = len(self.used["train"])
        _, self.used["train"] = self._divide(few_shot, shots, seed)
        self.notes.append(
            f"train is {len(self.used['train'])} of {listed} images: {shots} of every class or all "
            f"it has, and more where it comes along with others (NUM_SHOTS, seed {seed})"
        )

    def _divide(
        self, choose: Callable[..., np.ndarray], amount: float, seed: int
    ) -> tuple[ImageList, ImageList]:
        """Training images that are not chosen, and those that are."""
        train = self.used["train"]
        targets = SparseTargets(train.labels, self.num_classes)
        chosen = choose(train.paths, targets, amount, seed)  # [N]
        return train.take(~chosen), train.take(chosen)
