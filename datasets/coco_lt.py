"""COCO-LT: 1,909 training images of COCO train2017, the 5,000 of val2017 for test, 80 classes.

Wu et al., "Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed Datasets",
ECCV 2020. The 48 test images without labels are kept: they are negatives of every class.
"""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY
from yacs.config import CfgNode

from datasets.base.long_tail_dataset import Layout, LongTailDataset


@DATASET_REGISTRY.register()
class COCOLT(LongTailDataset):
    """COCO-LT: 1,909 training images of COCO 2017, 80 classes, in ROOT/coco."""

    def __init__(self, cfg: CfgNode) -> None:
        layout = Layout(
            folder="coco",
            train_list="coco_lt_train.txt",
            test_list="coco_lt_test.txt",
            labels="coco_labels.txt",
            captions="coco_lt_captions.txt",
            class_freq="class_freq.pkl",
        )
        super().__init__(cfg, layout)
