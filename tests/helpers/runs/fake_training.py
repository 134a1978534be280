"""A train.py that trains nothing, and a small sweep of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweeping.plan import Plan

# The metric follows from the rate and the seed alone. A rate above 1 diverges, one above 0.2 takes
# the process with it. Every call is noted with its split.
TRAINING = """
import json, os, pathlib, signal, sys, yaml

def main(words, watch=None):
    given = dict(zip(words[::2], words[1::2]))
    folder = pathlib.Path(given["--output-dir"])
    recipe = yaml.safe_load(open(given["--config-file"]))
    rate, split = recipe["OPTIM"]["LR"], given["TEST.SPLIT"]
    with open(os.environ["CALLS"], "a") as file:
        print(given["--trainer"], folder.name, split, rate, file=file)
    if rate > 1:
        print("train.py: error: the loss is nan in epoch 1", file=sys.stderr)
        sys.exit(2)
    if rate > 0.2:
        os.kill(os.getpid(), signal.SIGKILL)
    value = 90 - 100 * rate + (int(given["--seed"]) if split == "test" else 0)
    for epoch in range(1, 4):
        if watch:
            watch(epoch, split, value)
    metrics = {"mAP": value, "mAP_head": 1, "mAP_medium": 2, "mAP_tail": 3}
    results = dict(dataset="d", backbone="b", trainer=given["--trainer"], split=split,
                   score="logit", selection="last_step", seed=int(given["--seed"]), seconds=1,
                   per_class=[], metrics=metrics)
    if "RECIPE" in recipe:
        results["recipe"] = {"chosen_on": "val", "trials": recipe["RECIPE"]["TRIALS"]}
    (folder / "results.json").write_text(json.dumps(results))
"""

SPACE = """
OPTIM.LR: {low: 0.001, high: 0.2, log: True}
OPTIM.MAX_EPOCH: {low: 1, high: 20}
TRAINER.SAMPLER: [random, class_aware]
"""


def fake_training(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """Let workers find that train.py; returns the file of its calls."""
    folder.mkdir()
    (folder / "train.py").write_text(TRAINING)
    patch.syspath_prepend(folder)
    patch.setenv("CALLS", str(folder / "calls"))
    (folder / "calls").touch()
    return folder / "calls"


def small_plan(root: Path, folder: Path, space: str = SPACE, **more: Any) -> Plan:
    """A sweep of two methods on the small set.

    Args:
        root: of the set.
        folder: of the sweep.
        space: what is tried of each.
        **more: arguments of the plan.
    """
    spaces = folder / "spaces"
    spaces.mkdir(exist_ok=True)
    for trainer in ("CoOp", "LMPT"):
        (spaces / f"{trainer}.yaml").write_text(space)
    given = {
        "dataset": "list_lt",
        "backbone": "tiny",
        "trainers": ("CoOp", "LMPT"),
        "trials": 3,
        "seeds": (1, 2),
        "root": root,
        "output": folder / "out",
        "spaces": spaces,
        "overrides": ("DATASET.FOLDER", "mine"),
    }
    return Plan(**{**given, **more})
