"""The config that a run leaves in its folder, and what later runs there may do with it."""

from __future__ import annotations

import random
from pathlib import Path

from yacs.config import CfgNode

from common.config.config_values import flatten
from common.config.former_spellings import renamed
from common.readers.yaml_files import read_yaml

# What may change between two runs into one folder without making them two experiments.
_MAY_DIFFER_ON_RESUME = (
    *("OUTPUT_DIR", "RESUME", "VERBOSE", "USE_CUDA", "DATASET.ROOT", "TRAIN."),
    *("TEST.SCORE", "TEST.THRESHOLD", "TEST.SAVE_SCORES", "TEST.PER_CLASS_RESULT", "TEST.NO_TEST"),
    *("TEST.EVAL_FREQ", "DATASET.TRAIN_PICTURES", "DATASET.TEST_PICTURES"),
    *("DATALOADER.NUM_WORKERS", "DATALOADER.TEST.", "DATALOADER.CACHE_DIR"),
)


def resolve_seed(cfg: CfgNode, folder: Path) -> None:
    """Give an unseeded run a seed: that of the run in `folder`, or a fresh one.

    Held-out images and known labels depend on it, so an evaluation needs its training run's seed.
    """
    if cfg.SEED < 0:
        earlier = read_run_config(folder)
        cfg.SEED = earlier["SEED"] if earlier else random.SystemRandom().randrange(2**31)


def refuse_other_experiment(cfg: CfgNode, folder: Path, defaults: CfgNode) -> None:
    """Protect a run's folder from being continued with other settings.

    Args:
        cfg: this run's config.
        folder: its output folder.
        defaults: what keys count as that the folder's config.yaml lacks, as one of an earlier
            version may.

    Raises:
        ValueError: the folder holds checkpoints of a run with other settings; they are listed.
    """
    earlier = read_run_config(folder)
    if earlier is None or not any(folder.glob("*/model*.pth.tar*")):
        return
    now, before = dict(flatten(cfg)), dict(flatten(defaults))
    before.update((renamed(key), value) for key, value in flatten(earlier))
    changed = [
        f"  {key}: {before.get(key)!r} there, {now.get(key)!r} now"
        for key in sorted({*now, *before})
        if not key.startswith(_MAY_DIFFER_ON_RESUME)
        and _plain(now.get(key)) != _plain(before.get(key))
    ]
    if changed:
        raise ValueError(
            f"{folder} holds checkpoints of a run with other settings:\n"
            + "\n".join(changed)
            + "\nChoose another --output-dir, or remove that folder to start over."
        )


def read_run_config(folder: Path) -> CfgNode | None:
    """The config that a run left in its folder, if there is one.

    Raises:
        ValueError: it is damaged.
    """
    path = folder / "config.yaml"
    try:
        settings = read_yaml(path)
    except FileNotFoundError:
        return None
    except ValueError:
        settings = {}
    if "VERSION" not in settings:  # the last key, see dump
        raise ValueError(
            f"{path} is damaged. Remove that file alone: the checkpoints beside it need it only "
            "to be compared with this run's settings."
        )
    return CfgNode(settings)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
