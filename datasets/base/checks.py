"""What is refused before a file is read, and what is told of the lists thereafter."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from itertools import combinations

from yacs.config import CfgNode

from datasets.files.list_files import ListEntry


def check_label_mask(settings: CfgNode) -> None:
    """Refuse a mask that would not be used.

    Args:
        settings: cfg.DATASET.

    Raises:
        ValueError: all labels are known.
    """
    if settings.LABEL_MASK and settings.LABEL_PROPORTION == 1:
        raise ValueError("DATASET.LABEL_MASK is given but unused: set DATASET.LABEL_PROPORTION.")


def check_class_split(settings: CfgNode) -> None:
    """Refuse partial labels beside a choice of classes: masks are of all classes.

    Args:
        settings: cfg.DATASET.

    Raises:
        ValueError: both are set.
    """
    if settings.CLASS_SPLIT and settings.LABEL_PROPORTION < 1:
        raise ValueError(
            "DATASET.CLASS_SPLIT does not go with partial labels; set DATASET.LABEL_PROPORTION 1."
        )


def overlaps(used: Mapping[str, Sequence[ListEntry]]) -> list[str]:
    """Return a warning for each two splits that have images in common.

    Args:
        used: images of each split.
    """
    images = {split: {posixpath.normpath(e.path) for e in rows} for split, rows in used.items()}
    shared = {pair: len(images[pair[0]] & images[pair[1]]) for pair in combinations(images, 2)}
    return [
        f"warning: {number} images are in both {' and '.join(pair)}"
        + (", which are the same images" if number == max(len(images[s]) for s in pair) else "")
        for pair, number in shared.items()
        if number
    ]
