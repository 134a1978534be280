"""Print what a paper's table runs, for reproduce.sh.

usage: python scripts/lib/paper_rows.py TABLE BACKBONE

The first line has the seeds. Then comes a line for each row, the quick ones first:

    run DATASET TRAINER CFG MARK [KEY VALUE ...]
    mix WEIGHT FIRST SECOND

CFG is as compare.sh has it. MARK tells rows of one CFG apart where TAG names their folders; - is
none. An ensemble's members are lines above it, counted from 0 behind the first.

environment: TRAINERS  the rows of these trainers alone
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
from scripts.lib.paper_tables import TABLES, Ensemble, Row

_MARKS = ("DATASET.LABEL_PROPORTION", "DATASET.NUM_SHOTS", "DATASET.CLASS_SPLIT")
_MARKS += ("DATASET.UNLABELED",)


def main() -> None:
    """Print the rows of the table and backbone on the command line."""
    if len(sys.argv) != 3:
        raise ValueError(f"expected TABLE BACKBONE, got {len(sys.argv) - 1} words")
    for words in lines(*sys.argv[1:], trainers=os.environ.get("TRAINERS", "").split()):
        print(*words)


def lines(table: str, backbone: str, trainers: list[str]) -> Iterator[tuple[str, ...]]:
    """Words of each line.

    Args:
        table: a name in `TABLES`.
        backbone: a file of configs/backbones, without .yaml.
        trainers: that are wanted; empty: all.

    Raises:
        ValueError: there is no such table, or none of these trainers is in it.
    """
    check_choice("TABLE", table, TABLES)
    chosen = TABLES[table]
    check_choice("BACKBONE", backbone, chosen.backbones)
    here = [
        row
        for row in chosen.rows
        if isinstance(row, Ensemble) or backbone in (row.on or (backbone,))
    ]
    known = dict.fromkeys(row.trainer for row in here if isinstance(row, Row))
    rows = [row for row in here if isinstance(row, Row) and row.trainer in (trainers or known)]
    if not rows:
        raise ValueError(f"TRAINERS names no row; rows are {' '.join(known)}")
    yield ("seeds", chosen.seeds)
    for row in rows:
        cfg = "_".join(filter(None, (row.backbone or backbone, row.recipe)))
        yield ("run", chosen.dataset, row.trainer, cfg, _mark(row), *row.keys)
    for row in here:
        if isinstance(row, Ensemble) and row.first in rows and row.second in rows:
            places = (str(rows.index(member)) for member in (row.first, row.second))
            yield ("mix", f"{row.weight:g}", *places)


def _mark(row: Row) -> str:
    """What tells a row from others of its trainer and recipe, as compare.sh names folders."""
    pairs = zip(row.keys[::2], row.keys[1::2], strict=True)
    return "_".join(key.split(".")[-1] + value for key, value in pairs if key in _MARKS) or "-"


if __name__ == "__main__":
    run_command(main)
