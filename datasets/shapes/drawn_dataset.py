"""What the data sets of shapes share: they are drawn under the data root on first use."""

from __future__ import annotations

from yacs.config import CfgNode

from datasets.base.layout import Layout
from datasets.base.long_tail_dataset import LongTailDataset
from datasets.shapes.generator import LABELS, ensure_generated, ensure_validation
from datasets.shapes.specs import ShapesSpec


class DrawnDataset(LongTailDataset):
    """A long-tailed set that is drawn where it is absent, its validation pictures when needed.

    Args:
        cfg: configuration, as of `LongTailDataset`.
        spec: what to draw.
    """

    def __init__(self, cfg: CfgNode, spec: ShapesSpec) -> None:
        folder = ensure_generated(cfg.DATASET.ROOT, spec)
        validates = looks_at_validation(cfg) and cfg.DATASET.VAL_FRACTION == 0
        if validates:
            ensure_validation(folder, spec)
        layout = Layout(
            folder=spec.folder,
            train_list=spec.list_file("train"),
            test_list=spec.list_file("test"),
            labels=LABELS,
            captions=spec.caption_file,
            val_list=spec.list_file("val") if validates else None,
        )
        super().__init__(cfg, layout)


def looks_at_validation(cfg: CfgNode) -> bool:
    """Whether a run evaluates, selects or schedules by validation images."""
    watches = cfg.TEST.FINAL_MODEL == "best_val" or cfg.OPTIM.LR_SCHEDULER == "plateau"
    return watches or cfg.TEST.SPLIT == "val"
