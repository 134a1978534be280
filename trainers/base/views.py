"""Several views of each image: INPUT.TEST_VIEWS in evaluations, INPUT.REGION_VIEWS throughout."""

from __future__ import annotations

from yacs.config import CfgNode

from common.config.config_rules import Rule, declare_rules
from modeling.encoders.frozen_clip import FrozenClip
from modeling.encoders.image_views import FLIP, largest_size, parse_views


class _Views(Rule):
    """What `parse_views` reads."""

    def allows(self, value: object) -> bool:
        """Whether it is."""
        try:
            parse_views(value, (1, 1))
        except (AttributeError, ValueError):
            return False
        return True

    def __str__(self) -> str:
        return f"{FLIP!r}, sides in pixels, or both, each once, as in '{FLIP} 96 128'; or empty"


declare_rules("INPUT", {"TEST_VIEWS": _Views(), "REGION_VIEWS": _Views()})


def extend_cfg(cfg: CfgNode) -> None:
    """Declare the views of an image: "flip" (plain and mirrored), sides of squares, or both."""
    cfg.INPUT.TEST_VIEWS = ""  # over which an evaluation averages logits; "": the image alone
    cfg.INPUT.REGION_VIEWS = ""  # whose regions are one bag, in training too; "": likewise


def check_views(inputs: CfgNode) -> None:
    """Refuse both kinds of views together, and squares beside pictures that are none.

    Raises:
        ValueError: with the keys.
    """
    test, bag = inputs.TEST_VIEWS, inputs.REGION_VIEWS
    if test and bag:
        raise ValueError(
            "INPUT.TEST_VIEWS averages logits and INPUT.REGION_VIEWS pools regions; set one of "
            f"them, got {test!r} and {bag!r}."
        )
    height, width = inputs.SIZE
    if height != width and set((test or bag).split()) - {FLIP}:
        raise ValueError(
            f"Sides of views are those of squares, and INPUT.SIZE is {(height, width)}; leave them "
            f"out of {test or bag!r}, or make INPUT.SIZE a square."
        )


def look_at_views(cfg: CfgNode, clip: FrozenClip) -> None:
    """Let a CLIP encode the views that a config asks for.

    Raises:
        ValueError: the method looks at no regions, or a side does not fit the tower.
    """
    inputs = cfg.INPUT
    check_views(inputs)
    bag, test = inputs.REGION_VIEWS, inputs.TEST_VIEWS
    try:
        clip.look_at_views(parse_views(bag, inputs.SIZE), parse_views(test, inputs.SIZE))
    except ValueError as error:
        key = f"INPUT.REGION_VIEWS {bag!r}" if bag else f"INPUT.TEST_VIEWS {test!r}"
        raise ValueError(f"{key}: {error}.") from error


def training_config(cfg: CfgNode) -> CfgNode:
    """A config whose INPUT.SIZE is that in which training reads pictures, without views."""
    training = cfg.clone()
    training.defrost()
    inputs = training.INPUT
    inputs.SIZE = largest_size(parse_views(inputs.REGION_VIEWS, inputs.SIZE), inputs.SIZE)
    inputs.TEST_VIEWS = inputs.REGION_VIEWS = ""
    return training
