"""What is refused before a file is read, and what is told of the lists thereafter."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from yacs.config import CfgNode

from datasets.files.image_list import ImageList


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


def overlaps(used: Mapping[str, ImageList]) -> list[str]:
    """Return a warning for each two splits that have images in common.

    Args:
        used: images of each split.
    """
    images = {split: rows.paths.hashes() for split, rows in used.items()}  # none twice in a list
    shared = {
        pair: len(np.intersect1d(images[pair[0]], images[pair[1]], assume_unique=True))
        for pair in combinations(images, 2)
    }
    return [
        f"warning: {number} images are in both {' and '.join(pair)}"
        + (", which are the same images" if number == max(len(images[s]) for s in pair) else "")
        for pair, number in shared.items()
        if number
    ]
