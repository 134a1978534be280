"""INPUT keys of a config, for transforms without a run."""

from __future__ import annotations

from dassl.config import get_cfg_default
from yacs.config import CfgNode


def inputs(*names: str, **changes: object) -> CfgNode:
    """INPUT of Dassl's defaults with these transforms, 24 x 24 pixels, and other changes."""
    node = get_cfg_default().INPUT
    node.SIZE, node.INTERPOLATION, node.RESIZE = (24, 24), "bicubic", "squash"
    node.TRANSFORMS = names
    for key, value in changes.items():
        node[key] = value
    return node
