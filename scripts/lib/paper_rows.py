"""Print the rows of the LMPT paper's tables that this project can run, for reproduce.sh.

usage: python scripts/lib/paper_rows.py DATASET BACKBONE

A line for each row, the quick ones first: trainer, CFG as compare.sh has it, overrides KEY VALUE.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(os.path.abspath(__file__)).parents[2]
sys.path.insert(0, str(ROOT))

from common.choices import check_choice
from common.user_errors import run_command

# Trainers of each table. DualCoOp and TaI-DPT are known on the ResNet alone.
TRAINERS = {
    "rn50": ("ZeroshotCLIP", "LMPT", "CoOp", "DualCoOp", "TaIDPT", "CoCoOp"),
    "vit_b16": ("ZeroshotCLIP", "LMPT", "CoOp", "CoCoOp"),
}
# What a row needs beside its recipe, as the first lines of the paper.yaml files have it. VOC's raw
# class names ("diningtable") are those of the authors' codes; COCO's have no other form.
KEYS = {
    "voc_lt": {"": ("DATASET.CLASSNAMES", "raw"), "DualCoOp": ("OPTIM.LR", "1e-3")},
    "coco_lt": {"LMPT": ("OPTIM.LR", "1e-4")},
}


def main() -> None:
    """Print the rows of the data set and backbone on the command line."""
    if len(sys.argv) != 3:
        raise ValueError(f"expected DATASET BACKBONE, got {len(sys.argv) - 1} words")
    for words in rows(*sys.argv[1:]):
        print(*words)


def rows(dataset: str, backbone: str) -> Iterator[tuple[str, ...]]:
    """Words of each row: trainer, CFG, and keys with their values.

    Args:
        dataset: "voc_lt" or "coco_lt".
        backbone: a file of configs/backbones, without .yaml.

    Raises:
        ValueError: the paper has no table of these.
    """
    check_choice("DATASET", dataset, KEYS)
    check_choice("BACKBONE", backbone, TRAINERS)
    for trainer in TRAINERS[backbone]:
        has_paper = (ROOT / "configs/trainers" / trainer / "paper.yaml").is_file()
        cfg = f"{backbone}_paper" if has_paper else backbone
        keys = KEYS[dataset]
        yield (trainer, cfg, *keys.get("", ()), *keys.get(trainer, ()))


if __name__ == "__main__":
    run_command(main)
