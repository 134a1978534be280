"""VOC-LT: 1,142 training images of VOC 2012, 4,952 test images of VOC 2007, 20 classes.

Wu et al., "Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed Datasets",
ECCV 2020. Objects that VOC marks as difficult count as present, in training and in test.
"""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY
from yacs.config import CfgNode

from datasets.base.long_tail_dataset import Layout, LongTailDataset


@DATASET_REGISTRY.register()
class VOCLT(LongTailDataset):
    """VOC-LT: 1,142 training images of VOC2012, 20 classes, in ROOT/voc."""

    # Only words run together are split; synonyms ("airplane") would be another protocol.
    clean_names = {
        "diningtable": "dining table",
        "pottedplant": "potted plant",
        "tvmonitor": "tv monitor",
    }

    def __init__(self, cfg: CfgNode) -> None:
        layout = Layout(
            folder="voc",
            train_list="voc_lt_train.txt",
            test_list="voc_lt_test.txt",
            labels="voc_labels.txt",
            captions="voc_lt_captions.txt",
            class_freq="class_freq.pkl",
        )
        super().__init__(cfg, layout)
