"""NUSWIDE: NUS-WIDE, 161,789 training and 107,859 test images of Flickr, 81 concepts.

Chua et al., "NUS-WIDE: A Real-World Web Image Database from National University of Singapore",
CIVR 2009. A fifth of the images shows none of the concepts: they stay, as negatives, unless
DATASET.UNLABELED is drop.
"""

from __future__ import annotations

from dataclasses import replace

from dassl.data.datasets import DATASET_REGISTRY
from yacs.config import CfgNode

from common.config.config_rules import Choice, check_values, declare_rules
from datasets.base.layout import Layout
from datasets.base.long_tail_dataset import LongTailDataset
from datasets.official.made_lists import dataset_folder, ensure_lists
from datasets.official.nus_wide import read_nus_wide, read_nus_wide_tags
from datasets.official.nus_wide_asl import read_nus_wide_asl

PICTURES_FROM = (
    "NUS-WIDE's authors give its pictures out on request alone, and many are gone from Flickr "
    "(docs/standard_sets.md)."
)
LAYOUT = Layout(
    folder="nus_wide",
    train_list="nus_wide_train.txt",
    test_list="nus_wide_test.txt",
    labels="nus_wide_labels.txt",
    captions="nus_wide_captions.txt",
    pictures_from=PICTURES_FROM,
)

# Of zero-shot work: 925 user tags that training sees, and the concepts, which it does not.
ZERO_SHOT = "nus_wide_925_81"
TAGS_LAYOUT = replace(
    LAYOUT,
    train_list="nus_wide_tags_train.txt",
    test_list="nus_wide_tags_test.txt",
    labels="nus_wide_tags_labels.txt",
    class_split=f"{ZERO_SHOT}.txt",
)
ASL_LAYOUT = replace(
    LAYOUT,
    train_list="nus_wide_asl_train.txt",
    test_list="nus_wide_asl_test.txt",
    labels="nus_wide_asl_labels.txt",
)


def extend_cfg(cfg: CfgNode) -> None:
    """Declare the keys that this module reads."""
    # NUSWIDE: official | asl (119,103 and 50,720 images, all with a label; of nus_wid_data.csv)
    cfg.DATASET.VARIANT = "official"


declare_rules("DATASET", {"VARIANT": Choice(("official", "asl"))})


@DATASET_REGISTRY.register()
class NUSWIDE(LongTailDataset):
    """NUSWIDE: 161,789 training images of NUS-WIDE, 81 concepts, in ROOT/nus_wide."""

    def __init__(self, cfg: CfgNode) -> None:
        advice = "Fetch and check them: python scripts/prepare_data.py nus-wide --root ROOT"
        settings = cfg.DATASET
        check_values(settings, "DATASET")
        layout, read = LAYOUT, read_nus_wide
        if settings.CLASS_SPLIT == ZERO_SHOT:
            layout, read = TAGS_LAYOUT, read_nus_wide_tags
        if settings.VARIANT == "asl":
            if layout is TAGS_LAYOUT:
                raise ValueError(f"DATASET.CLASS_SPLIT {ZERO_SHOT} needs DATASET.VARIANT official.")
            layout, read = ASL_LAYOUT, read_nus_wide_asl
        ensure_lists(dataset_folder(cfg.DATASET.ROOT, layout), layout, read, advice)
        super().__init__(cfg, layout)
