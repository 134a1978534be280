"""Your own data: lists in the formats of VOC-LT and COCO-LT, in any folder."""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY
from yacs.config import CfgNode

from datasets.base.long_tail_dataset import Layout, LongTailDataset


def extend_cfg(cfg: CfgNode) -> None:
    """Declare the keys that this module reads."""
    cfg.DATASET.FOLDER = ""  # ListLT: folder under DATASET.ROOT that holds the lists; "": ROOT


@DATASET_REGISTRY.register()
class ListLT(LongTailDataset):
    """Your own images, from lists in ROOT/<DATASET.FOLDER>.

    train.txt and test.txt list images, labels.txt names the classes; val.txt and captions.txt are
    optional.
    """

    def __init__(self, cfg: CfgNode) -> None:
        layout = Layout(
            folder=cfg.DATASET.FOLDER,
            train_list="train.txt",
            test_list="test.txt",
            labels="labels.txt",
            captions="captions.txt",
            val_list="val.txt",
        )
        super().__init__(cfg, layout)
