"""ShapesLT: the embedded data set, 20 drawn shapes with the long tail of VOC-LT.

1,142 training pictures with captions and 1,100 balanced test pictures are drawn into
ROOT/shapes_lt on first use, in a few seconds; as many validation pictures, likewise balanced, when
a run asks for some.
"""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY
from yacs.config import CfgNode

from datasets.shapes.drawn_dataset import DrawnDataset
from datasets.shapes.specs import ShapesSpec

SPEC = ShapesSpec()  # what is drawn


@DATASET_REGISTRY.register()
class ShapesLT(DrawnDataset):
    """ShapesLT: twenty shapes with VOC-LT's class counts, drawn into ROOT/shapes_lt."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__(cfg, SPEC)
