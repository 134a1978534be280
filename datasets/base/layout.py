"""Where the files of a data set lie, and what to say when they do not."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Layout:
    """The files of a data set, relative to `folder`, itself relative to DATASET.ROOT.

    The lists and the labels must exist; captions, a validation list and class counts are used where
    they do.

    Attributes:
        captions_prefix: folder put before the paths in `captions`.
        difficult: lists by split, in the format of the others, of the classes whose objects in an
            image are all marked as difficult; such a class is not in the list itself.
        class_split: file of seen and unseen classes that is made with the lists.
        substitutes: further paths at which the same picture may lie.
        pictures_from: a sentence on where pictures come from, for the message on absent ones.
    """

    folder: str
    train_list: str
    test_list: str
    labels: str
    captions: str | None = None
    val_list: str | None = None
    class_freq: str | None = None
    captions_prefix: str = ""
    difficult: Mapping[str, str] = field(default_factory=dict)
    class_split: str | None = None
    substitutes: Callable[[str], Sequence[str]] | None = None
    pictures_from: str = "docs/data.md tells where to get them."

    def picture(self, dataset_dir: str, path: str) -> str:
        """Where a picture lies: at its own path, or else where a substitute does.

        Args:
            dataset_dir: where `folder` lies on this machine.
            path: of a list.
        """
        own = os.path.join(dataset_dir, path)
        if self.substitutes is None or os.path.isfile(own):
            return own
        others = (os.path.join(dataset_dir, other) for other in self.substitutes(path))
        return next(filter(os.path.isfile, others), own)

    def check(self, dataset_dir: str, dataset: str) -> None:
        """Check that the files that must exist do.

        Args:
            dataset_dir: where `folder` lies on this machine.
            dataset: name of the data set, for the message.

        Raises:
            FileNotFoundError: one does not; the message shows the layout expected.
        """
        required = (
            (self.train_list, 'training images, rows "path id id ..."'),
            (self.test_list, "test images, likewise"),
            (self.labels, 'classes, rows "name id"'),
        )
        optional = (
            (self.val_list, "validation images, rows as in the other lists"),
            (self.captions, 'captions of training images, rows "path caption"'),
            (self.class_freq, "published class counts, compared with the training list"),
        )
        absent = [name for name, _ in required if not _is_file(dataset_dir, name)]
        if not absent:
            return
        lines = [f"{dataset}: {', '.join(absent)} not found in {dataset_dir}"]
        if not os.path.isdir(dataset_dir):
            lines[0] += ", which is not a folder"
        lines.append("The folder must hold the pictures, at the paths given in the lists, and")
        for name, content in required:
            state = "absent" if name in absent else "found"
            lines.append(f"  {name}: {content} ({state})")
        for name, content in optional:
            if name:
                state = "found" if _is_file(dataset_dir, name) else "absent"
                lines.append(f"  {name}: {content} (optional, {state})")
        where = f"The folder above {self.folder}" if self.folder else "This folder"
        lines.append(f"{where} is given as --root (DATASET.ROOT); docs/data.md tells more.")
        raise FileNotFoundError("\n".join(lines))


def _is_file(dataset_dir: str, name: str) -> bool:
    return os.path.isfile(os.path.join(dataset_dir, name))
