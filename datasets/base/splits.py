"""The images of each split: as listed, and those of them that are used."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection

import numpy as np

from datasets.base.layout import Layout
from datasets.base.subsets import few_shot, hold_out
from datasets.files.list_files import ListEntry, read_list

_SHOWN_PATHS = 3

Images = dict[str, list[ListEntry]]  # by split


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
        notes: what was done, for people.

    Raises:
        DataFileError: a list breaks its format.
    """

    def __init__(self, layout: Layout, folder: str, num_classes: int) -> None:
        self.layout, self.folder, self.num_classes = layout, folder, num_classes
        names = {"train": layout.train_list, "val": layout.val_list, "test": layout.test_list}
        self.listed: Images = {
            split: read_list(self.path(name), num_classes)
            for split, name in names.items()
            if name and os.path.isfile(self.path(name))
        }
        self.used = dict(self.listed)
        self.missing = dict.fromkeys(self.listed, 0)
        self.notes: list[str] = []

    def path(self, name: str) -> str:
        """Where a file of the data set lies."""
        return os.path.join(self.folder, name)

    def targets(self) -> dict[str, np.ndarray]:
        """Targets of the used images by split, float32 [N, C]: 1 present, 0 absent."""
        return {split: multi_hot(rows, self.num_classes) for split, rows in self.used.items()}

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
            there = [entry for entry in rows if os.path.isfile(self.path(entry.path))]
            if split in unread and not (skip and there):
                there = list(rows)
            kept = set(there)
            absent += [entry.path for entry in rows if entry not in kept]
            self.used[split], self.missing[split] = there, len(rows) - len(there)
            counts.append(f"{self.missing[split]} of {len(rows)} {split} pictures")
        nothing_left = [split for split, rows in self.used.items() if not rows]
        if absent and (nothing_left or not skip):
            shown = "\n".join(f"  {self.path(path)}" for path in absent[:_SHOWN_PATHS])
            if nothing_left:
                advice = f"None is left for {' and '.join(nothing_left)}."
            else:
                advice = "To use those that are there only, set DATASET.MISSING skip."
            raise FileNotFoundError(
                f"{dataset}: {', '.join(counts)} are absent, beginning with\n{shown}\n"
                f"docs/data.md tells where to get them. {advice}"
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
        if not self.used["val"]:
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
    ) -> tuple[list[ListEntry], list[ListEntry]]:
        """Training images that are not chosen, and those that are."""
        train = self.used["train"]
        paths = [entry.path for entry in train]
        chosen = choose(paths, multi_hot(train, self.num_classes), amount, seed)  # [N]
        parts = [], []
        for entry, part in zip(train, chosen, strict=True):
            parts[int(part)].append(entry)
        return parts


def multi_hot(entries: list[ListEntry], num_classes: int) -> np.ndarray:
    """Targets of images, float32 [N, C]: 1 present, 0 absent."""
    targets = np.zeros((len(entries), num_classes), dtype=np.float32)  # [N, C]
    for target, entry in zip(targets, entries, strict=True):
        target[list(entry.labels)] = 1.0
    return targets
