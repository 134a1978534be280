"""ShapesLT: the embedded data set, 20 drawn shapes with the long tail of VOC-LT.

1,142 training pictures with captions and 1,100 balanced test pictures are drawn into
ROOT/shapes_lt on first use, in a few seconds.
"""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY
from yacs.config import CfgNode

from datasets.base.layout import Layout
from datasets.base.long_tail_dataset import LongTailDataset
from datasets.shapes.generator import FOLDER, ShapesSpec, ensure_generated

SPEC = ShapesSpec()  # what is drawn


@DATASET_REGISTRY.register()
class ShapesLT(LongTailDataset):
    """ShapesLT: twenty shapes with VOC-LT's class counts, drawn into ROOT/shapes_lt."""

    def __init__(self, cfg: CfgNode) -> None:
        ensure_generated(cfg.DATASET.ROOT, SPEC)
        layout = Layout(
            folder=FOLDER,
            train_list="shapes_lt_train.txt",
            test_list="shapes_lt_test.txt",
            labels="shapes_labels.txt",
            captions="shapes_lt_captions.txt",
        )
        super().__init__(cfg, layout)
