from __future__ import annotations

import pytest
from dassl.config import get_cfg_default

from datasets import nus_wide
from datasets.base import long_tail_dataset
from evaluation.results.protocol import protocol


@pytest.mark.parametrize(
    ("keys", "epoch", "words"),
    [
        ([], 30, "full labels"),
        ([], None, "full labels"),
        ([], 0, "zero-shot"),
        (["LABEL_PROPORTION", 0.1], 30, "partial 10%"),
        (["LABEL_PROPORTION", 0.35], 30, "partial 35%"),
        (["TEXT_AS_IMAGE", True], 30, "text-only training"),
        (["NUM_SHOTS", 16], 30, "16 shots"),
        (["CLASS_SPLIT", "coco_48_17"], 30, "coco_48_17 full labels"),
        (["DIFFICULT", "ignore"], 30, "full labels, difficult-only ignored"),
        (
            ["DIFFICULT", "positive", "UNLABELED", "drop"],
            0,
            "zero-shot, difficult positive, images with labels",
        ),
        (["VARIANT", "asl"], 30, "full labels, 119103/50720 split"),
    ],
)
def test_what_training_saw(keys, epoch, words):
    cfg = get_cfg_default()
    long_tail_dataset.extend_cfg(cfg)
    nus_wide.extend_cfg(cfg)
    cfg.DATASET.update(dict(zip(keys[::2], keys[1::2], strict=True)))
    assert protocol(cfg, epoch) == words


def test_a_config_of_another_project():
    assert protocol(get_cfg_default(), 5) == "full labels"
