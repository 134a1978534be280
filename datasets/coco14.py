"""COCO14: COCO 2014, 82,783 images of train2014 for training, 40,504 of val2014 for test.

Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; 80 classes. Where a picture of
2014 is absent, that of train2017 or val2017 serves, which is the same one. Images without labels
stay, as negatives of every class; DATASET.UNLABELED drop leaves them out.
"""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY
from yacs.config import CfgNode

from datasets.base.layout import Layout
from datasets.base.long_tail_dataset import LongTailDataset
from datasets.coco_lt import COCOLT
from datasets.official.coco import names_of_2017, read_coco2014
from datasets.official.made_lists import dataset_folder, ensure_lists

LAYOUT = Layout(
    folder="coco",
    train_list="coco14_train.txt",
    test_list="coco14_test.txt",
    labels="coco14_labels.txt",
    captions="annotations/captions_train2014.json",
    captions_prefix="train2014",
    substitutes=names_of_2017,
)


@DATASET_REGISTRY.register()
class COCO14(LongTailDataset):
    """COCO14: 82,783 training images of COCO 2014, 80 classes, in ROOT/coco."""

    synonyms = COCOLT.__name__

    def __init__(self, cfg: CfgNode) -> None:
        advice = "Fetch and check them: python scripts/prepare_data.py coco14 --root ROOT"
        ensure_lists(dataset_folder(cfg.DATASET.ROOT, LAYOUT), LAYOUT, read_coco2014, advice)
        super().__init__(cfg, LAYOUT)
