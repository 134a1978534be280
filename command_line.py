"""The command line of train.py: CoOp's flags, then KEY VALUE overrides of the config."""

from __future__ import annotations

import argparse

from compat.bootstrap import ensure_dassl

ensure_dassl()

from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY
from dassl.utils import Registry

import configuration  # noqa: F401 - registers what the help lists
from common.user_errors import CommandParser
from modeling.clip.loader import available_backbones

_DESCRIPTION = "Train and evaluate a method: CoOp's flags, then KEY VALUE overrides of the config."


def build_parser() -> argparse.ArgumentParser:
    """The command line; its help lists what is registered."""
    parser = CommandParser(
        description=_DESCRIPTION,
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flag = parser.add_argument
    flag("--root", default="", help="folder that holds the data sets")
    flag("--output-dir", default="", help="folder of logs, checkpoints and results.json")
    flag("--trainer", default="", metavar="NAME", help="a method, see below")
    flag("--dataset-config-file", default="", metavar="YAML", help="e.g. configs/datasets/...")
    flag(
        "--config-file", default="", metavar="YAML", help="a recipe; the method's own if not given"
    )
    flag("--seed", type=int, help="0 or more; without it one is drawn and printed")
    flag("--backbone", default="", metavar="NAME", help="a CLIP, see below, or a file")
    flag("--eval-only", action="store_true", help="evaluate --model-dir, train nothing")
    flag("--model-dir", default="", help="output folder of the run to evaluate")
    flag("--load-epoch", type=int, metavar="N", help="its epoch; best or else last if not given")
    flag("--check", action="store_true", help="decode every picture first, name the broken ones")
    flag("--no-train", action="store_true", help="build everything, then stop")
    flag("--resume", default="", metavar="DIR", help="go on from the checkpoints of another folder")
    flag("--verbose", action="store_true", help="also print the config and a report on the system")
    flag("--transforms", nargs="+", help="training transforms, by Dassl's names")
    flag("--source-domains", nargs="+", help="for Dassl's multi-domain sets")
    flag("--target-domains", nargs="+", help="likewise")
    flag("--head", default="", help="for Dassl's own networks")
    flag("opts", nargs="*", metavar="KEY VALUE", help="config overrides, e.g. OPTIM.MAX_EPOCH 20")
    return parser


def _epilog() -> str:
    """One line for each trainer, data set and backbone."""
    sections = {
        "trainers": _described(TRAINER_REGISTRY, "trainers."),
        "data sets": _described(DATASET_REGISTRY, "datasets."),
        "backbones": available_backbones(),
    }
    lines = []
    for title, rows in sections.items():
        lines += ["", f"{title}:", *(f"  {name:<16}{line}" for name, line in rows.items())]
    return "\n".join(lines)


def _described(registry: Registry, package: str) -> dict[str, str]:
    """Names and first docstring lines of what a registry has from one of our packages."""
    classes = {name: registry.get(name) for name in sorted(registry.registered_names())}
    return {
        name: (entry.__doc__ or "").strip().partition("\n")[0]
        for name, entry in classes.items()
        if entry.__module__.startswith(package)
    }


def check_flags(args: argparse.Namespace) -> None:
    """Refuse an epoch that cannot be, or that would not be looked for.

    Raises:
        ValueError: --load-epoch is below 1, or lacks the flags that it belongs to.
    """
    if args.load_epoch is None:
        return
    if args.load_epoch < 1:
        raise ValueError(
            f"--load-epoch counts epochs done and is 1 or more, got {args.load_epoch}."
        )
    if not (args.eval_only and args.model_dir):
        raise ValueError(
            "--load-epoch chooses what --eval-only --model-dir DIR evaluates; add both."
        )
