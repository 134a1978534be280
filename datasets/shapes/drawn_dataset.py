"""What the data sets of shapes share: they are drawn under the data root on first use."""

from __future__ import annotations

import os
from dataclasses import replace

from yacs.config import CfgNode

from common.config.config_rules import check_values
from datasets.base.layout import Layout
from datasets.base.long_tail_dataset import LongTailDataset
from datasets.shapes.generator import LABELS, ensure_generated, ensure_validation
from datasets.shapes.specs import ShapesSpec

_APART = 1000  # of the seeds of two draws: each split of a draw has one of its own


class DrawnDataset(LongTailDataset):
    """A long-tailed set that is drawn where it is absent, its validation pictures when needed.

    With DATASET.DRAW seed every SEED has pictures of its own, of the same classes, counts and
    style, in ROOT/draws/<SEED>: to see what a method is worth beyond those at hand.

    Args:
        cfg: configuration, as of `LongTailDataset`.
        spec: what to draw.
    """

    drawn = True

    def __init__(self, cfg: CfgNode, spec: ShapesSpec) -> None:
        check_values(cfg.DATASET, "DATASET")
        below = ""
        if cfg.DATASET.DRAW == "seed":
            number = max(cfg.SEED, 0)
            below = os.path.join("draws", str(number))
            spec = replace(spec, seed=spec.seed + _APART * (number + 1))
        folder = ensure_generated(os.path.join(cfg.DATASET.ROOT, below), spec)
        validates = looks_at_validation(cfg) and cfg.DATASET.VAL_FRACTION == 0
        if validates:
            ensure_validation(folder, spec)
        layout = Layout(
            folder=os.path.join(below, spec.folder),
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
