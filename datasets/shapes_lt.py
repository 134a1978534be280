"""ShapesLT: the embedded data set, 20 drawn shapes with the long tail of VOC-LT.

1,142 training pictures with captions and 1,100 balanced test pictures are drawn into
ROOT/shapes_lt on first use, in a few seconds; as many validation pictures, likewise balanced, when
a run asks for some.
"""

from __future__ import annotations

from dassl.data.datasets import DATASET_REGISTRY
from yacs.config import CfgNode

from datasets.base.layout import Layout
from datasets.base.long_tail_dataset import LongTailDataset
from datasets.shapes.generator import (
    FOLDER,
    VAL_LIST,
    ShapesSpec,
    ensure_generated,
    ensure_validation,
)

SPEC = ShapesSpec()  # what is drawn


@DATASET_REGISTRY.register()
class ShapesLT(LongTailDataset):
    """ShapesLT: twenty shapes with VOC-LT's class counts, drawn into ROOT/shapes_lt."""

    def __init__(self, cfg: CfgNode) -> None:
        folder = ensure_generated(cfg.DATASET.ROOT, SPEC)
        validates = looks_at_validation(cfg) and cfg.DATASET.VAL_FRACTION == 0
        if validates:
            ensure_validation(folder, SPEC)
        layout = Layout(
            folder=FOLDER,
            train_list="shapes_lt_train.txt",
            test_list="shapes_lt_test.txt",
            labels="shapes_labels.txt",
            captions="shapes_lt_captions.txt",
            val_list=VAL_LIST if validates else None,
        )
        super().__init__(cfg, layout)


def looks_at_validation(cfg: CfgNode) -> bool:
    """Whether a run evaluates, selects or schedules by validation images."""
    watches = cfg.TEST.FINAL_MODEL == "best_val" or cfg.OPTIM.LR_SCHEDULER == "plateau"
    return watches or cfg.TEST.SPLIT == "val"
