"""Head, medium and tail classes, by the number of their training images.

The bounds are those of VOC-LT and COCO-LT: Wu et al., ECCV 2020, https://arxiv.org/abs/2007.09654.
"""

from __future__ import annotations

HEAD_COUNT = 100  # training images from which a class belongs to the head
TAIL_COUNT = 20  # training images below which it belongs to the tail
GROUPS = ("head", "medium", "tail")


def group_of(count: int) -> str:
    """Return the group of a class: "head" (>= 100), "medium" (20..99) or "tail" (< 20).

    Args:
        count: training images of the class.
    """
    if count >= HEAD_COUNT:
        return "head"
    return "medium" if count >= TAIL_COUNT else "tail"
