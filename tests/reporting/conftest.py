from __future__ import annotations

import pytest

import train
from tests.helpers.sets.small_set import arguments, write_set

TRAINERS = ("CoOp", "DualCoOp")  # one text feature a class; two, on regions


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Folder of a short run of each trainer, with scores, on the small set."""
    root = tmp_path_factory.mktemp("report")
    write_set(root)
    more = ("TEST.SAVE_SCORES", "True", "OPTIM.MAX_EPOCH", "2", "TRAIN.PRINT_FREQ", "1")
    for trainer in TRAINERS:
        train.main(arguments(root, trainer, root / "runs" / trainer / "seed1", *more))
    return root / "runs"
