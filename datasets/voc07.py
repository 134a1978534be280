"""VOC07: PASCAL VOC 2007, 5,011 images for training (train and val), 4,952 for test, 20 classes.

Everingham et al., "The PASCAL Visual Object Classes Challenge 2007". A class of which an image
shows difficult objects alone counts as absent, as in DualCoOp and TaI-DPT; DATASET.DIFFICULT has
the other rules.
"""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY
from yacs.config import CfgNode

from datasets.base.layout import Layout
from datasets.base.long_tail_dataset import LongTailDataset
from datasets.official.made_lists import dataset_folder, ensure_lists
from datasets.official.voc import read_voc2007
from datasets.voc_lt import VOCLT

LAYOUT = Layout(
    folder="voc",
    train_list="voc07_train.txt",
    test_list="voc07_test.txt",
    labels="voc07_labels.txt",
    difficult={"train": "voc07_train_difficult.txt", "test": "voc07_test_difficult.txt"},
)


@DATASET_REGISTRY.register()
class VOC07(LongTailDataset):
    """VOC07: 5,011 training images of VOC 2007, 20 classes, in ROOT/voc."""

    clean_names = VOCLT.clean_names
    synonyms = VOCLT.__name__

    def __init__(self, cfg: CfgNode) -> None:
        advice = "Fetch and check them: python scripts/prepare_data.py voc07 --root ROOT"
        ensure_lists(dataset_folder(cfg.DATASET.ROOT, LAYOUT), LAYOUT, read_voc2007, advice)
        super().__init__(cfg, LAYOUT)
