"""ShapesLT80: the harder embedded data set, 80 pairs of drawn shapes with the long tail of COCO-LT.

2,700 training pictures with captions and 2,400 balanced test pictures, of two to seven shapes each,
are drawn into ROOT/shapes_lt80 on first use; as many validation pictures when a run asks for some.
"""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY
from yacs.config import CfgNode

from datasets.shapes.drawn_dataset import DrawnDataset
from datasets.shapes.specs import PairsSpec

SPEC = PairsSpec()  # what is drawn


@DATASET_REGISTRY.register()
class ShapesLT80(DrawnDataset):
    """ShapesLT80: pairs of shapes with COCO-LT's class counts, drawn into ROOT/shapes_lt80."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__(cfg, SPEC)
