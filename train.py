"""Train and evaluate a method: CoOp's flags, then KEY VALUE overrides of the config."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import pkgutil
import random
import sys
from ast import literal_eval
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from compat.bootstrap import dassl_banner, ensure_dassl

ensure_dassl()

import torch
from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase
from dassl.engine import TRAINER_REGISTRY, build_trainer
from dassl.utils import Registry, collect_env_info, set_random_seed, setup_logger
from yacs.config import CfgNode

import datasets
import evaluation
import losses
import trainers
from modeling.clip_loader import available_backbones
from modeling.pictures import check_pictures

# What may change between two runs into one folder without making them two experiments.
_HARMLESS = ("OUTPUT_DIR", "RESUME", "VERBOSE", "USE_CUDA", "DATASET.ROOT", "TEST.", "TRAIN.")
_HARMLESS += ("DATALOADER.NUM_WORKERS", "DATALOADER.TEST.")


def build_parser() -> argparse.ArgumentParser:
    """The command line; its help lists what is registered."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flag = parser.add_argument
    flag("--root", default="", help="folder that holds the data sets")
    flag("--output-dir", default="", help="folder of logs, checkpoints and results.json")
    flag("--trainer", default="", metavar="NAME", help="a method, see below")
    flag("--dataset-config-file", default="", metavar="YAML", help="e.g. configs/datasets/...")
    flag("--config-file", default="", metavar="YAML", help="e.g. configs/trainers/LMPT/tiny.yaml")
    flag("--seed", type=int, help="0 or more; without it one is drawn and printed")
    flag("--backbone", default="", metavar="NAME", help="a CLIP, see below, or a weight file")
    flag("--eval-only", action="store_true", help="evaluate --model-dir, train nothing")
    flag("--model-dir", default="", help="output folder of the run to evaluate")
    flag("--load-epoch", type=int, metavar="N", help="its epoch; best or else last if not given")
    flag("--check", action="store_true", help="decode every picture first, name the broken ones")
    flag("--no-train", action="store_true", help="build everything, then stop")
    flag("--resume", default="", metavar="DIR", help="go on from the checkpoints of another folder")
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


# --- Configuration ----------------------------------------------------------------------------


def build_cfg(args: argparse.Namespace) -> CfgNode:
    """Defaults, then the data set's yaml, the trainer's yaml, flags, and overrides.

    Raises:
        ValueError: an unknown key or a value of another type, with the nearest valid key.
        FileNotFoundError: a yaml file that does not exist.
    """
    cfg = get_cfg_default()
    cfg.DATASET.SUBSAMPLE_CLASSES = "all"  # CoOp's key: all | base | new
    for package in (evaluation, datasets, losses, trainers):
        for found in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{found.name}")
            if hasattr(module, "extend_cfg"):
                module.extend_cfg(cfg)
    for path in (args.dataset_config_file, args.config_file):
        if path:
            merge_yaml(cfg, Path(path))
    flags = {
        "DATASET.ROOT": args.root,
        "OUTPUT_DIR": args.output_dir,
        "RESUME": args.resume,
        "TRAINER.NAME": args.trainer,
        "MODEL.BACKBONE.NAME": args.backbone,
        "MODEL.HEAD.NAME": args.head,
        "INPUT.TRANSFORMS": args.transforms,
        "DATASET.SOURCE_DOMAINS": args.source_domains,
        "DATASET.TARGET_DOMAINS": args.target_domains,
    }
    override(cfg, [(key, value) for key, value in flags.items() if value], source="flags")
    if len(args.opts) % 2:
        raise ValueError(
            f"Overrides come in pairs KEY VALUE, got {len(args.opts)} words: {' '.join(args.opts)}"
        )
    override(cfg, list(zip(args.opts[::2], args.opts[1::2], strict=True)), source="command line")
    if args.seed is not None:
        cfg.SEED = args.seed
    return cfg


def merge_yaml(cfg: CfgNode, path: Path) -> None:
    """Set the keys of a yaml file, after those of the files that its `_BASE_` lists.

    Args:
        cfg: changed in place.
        path: the file; paths in its `_BASE_` are relative to its folder.

    Raises:
        FileNotFoundError: the file, or one that it builds on, does not exist.
        ValueError: an unknown key or a value of another type.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No config file {path}.")
    with path.open(encoding="utf-8") as file:
        node = CfgNode.load_cfg(file)
    for base in node.pop("_BASE_", []):
        merge_yaml(cfg, path.parent / base)
    override(cfg, list(_flatten(node)), source=str(path))


def override(cfg: CfgNode, pairs: Sequence[tuple[str, object]], source: str) -> None:
    """Set keys of a config.

    Args:
        cfg: changed in place.
        pairs: dotted key and value; text is read as Python where the key is not text itself.
        source: where the pairs come from, for messages.

    Raises:
        ValueError: an unknown key (the nearest valid one is named) or a value of another type.
    """
    valid = dict(_flatten(cfg))
    for key, value in pairs:
        if key not in valid:
            close = difflib.get_close_matches(key, valid, n=1, cutoff=0.0)[0]
            raise ValueError(f"{source}: unknown config key {key!r}. Did you mean {close!r}?")
        *path, name = key.split(".")
        node = cfg
        for part in path:
            node = node[part]
        node[name] = _converted(key, value, valid[key], source)


def _flatten(node: CfgNode, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in node.items():
        if isinstance(value, CfgNode):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _converted(key: str, value: object, default: object, source: str) -> object:
    """`value` in the type of the key's default."""
    wanted = type(default)
    if isinstance(value, str) and wanted is not str:
        try:
            value = literal_eval(value)
        except (ValueError, SyntaxError):
            pass  # stays text; the type check below reports it
    if isinstance(value, wanted) and not (wanted is int and isinstance(value, bool)):
        return value
    if wanted is float and type(value) is int:
        return float(value)
    if wanted in (list, tuple) and isinstance(value, (list, tuple)):
        return wanted(value)
    if wanted is tuple and isinstance(value, (int, float, str)):
        return (value,)
    if default is None:
        return value
    raise ValueError(
        f"{source}: {key} takes {wanted.__name__} such as {default!r}, got {value!r} "
        f"({type(value).__name__})."
    )


# --- Run --------------------------------------------------------------------------------------


def settle_seed(cfg: CfgNode, folder: Path) -> None:
    """Give an unseeded run a seed: that of the run in `folder`, or a fresh one.

    Held-out images and known labels depend on it, so an evaluation needs its training run's seed.
    """
    if cfg.SEED < 0:
        earlier = _earlier(folder)
        cfg.SEED = earlier["SEED"] if earlier else random.SystemRandom().randrange(2**31)


def refuse_other_experiment(cfg: CfgNode, folder: Path) -> None:
    """Protect a run's folder from being continued with other settings.

    Raises:
        ValueError: the folder holds checkpoints of a run with other settings; they are listed.
    """
    earlier = _earlier(folder)
    if earlier is None or not any(folder.glob("*/checkpoint")):
        return
    now, before = dict(_flatten(cfg)), dict(_flatten(CfgNode(earlier)))
    changed = [
        f"  {key}: {before.get(key)!r} there, {now.get(key)!r} now"
        for key in sorted({*now, *before})
        if not key.startswith(_HARMLESS) and _plain(now.get(key)) != _plain(before.get(key))
    ]
    if changed:
        raise ValueError(
            f"{folder} holds checkpoints of a run with other settings:\n"
            + "\n".join(changed)
            + "\nChoose another --output-dir, or remove that folder to start over."
        )


def _earlier(folder: Path) -> CfgNode | None:
    path = folder / "config.yaml"
    if not path.is_file():
        return None
    with path.open(encoding="utf-8") as file:
        return CfgNode.load_cfg(file)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


class _Terminal:
    """Standard output, which stock Dassl's logger would close when it goes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def close(self) -> None:
        """Nothing."""


@contextlib.contextmanager
def _logging_to(output_dir: str) -> Iterator[None]:
    """Copy standard output to OUTPUT_DIR/log.txt, as Dassl does, until the run is over."""
    terminal = sys.stdout
    sys.stdout = _Terminal(terminal)
    setup_logger(output_dir)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stdout = terminal


def main(argv: Sequence[str] | None = None) -> None:
    """Run one experiment."""
    parser = build_parser()
    args = parser.parse_intermixed_args(argv)
    try:
        cfg = build_cfg(args)
        if not cfg.TRAINER.NAME:
            raise ValueError("--trainer is missing; see --help for the names.")
        folder = Path(cfg.OUTPUT_DIR)
        settle_seed(cfg, Path(args.model_dir) if args.eval_only else folder)
        if not (args.eval_only or args.no_train):
            refuse_other_experiment(cfg, folder)
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    cfg.freeze()
    set_random_seed(cfg.SEED)
    with _logging_to(cfg.OUTPUT_DIR):
        _run(cfg, args)


def _run(cfg: CfgNode, args: argparse.Namespace) -> None:
    if cfg.USE_CUDA and torch.cuda.is_available():
        torch.backends.cudnn.benchmark = True
    print(dassl_banner())
    print(f"Command: {' '.join(sys.argv)}\nSeed: {cfg.SEED}")
    print(f"** Config **\n{cfg}\n** System **\n{collect_env_info()}")

    trainer = build_trainer(cfg)
    if args.check:
        _check_pictures(trainer.dm.dataset, cfg.DATALOADER.NUM_WORKERS)
    if args.eval_only:
        trainer.load_model(args.model_dir, epoch=args.load_epoch)
        trainer.test()
    elif not args.no_train:
        folder = Path(cfg.OUTPUT_DIR)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(cfg.dump(), encoding="utf-8")
        try:
            trainer.train()
        except KeyboardInterrupt:
            print(f"\nInterrupted. The same command goes on from the last epoch in {folder}.")
            sys.exit(130)


def _check_pictures(dataset: DatasetBase, workers: int) -> None:
    items = [*dataset.train_x, *(dataset.val or []), *dataset.test]
    problems = check_pictures([item.impath for item in items], max(workers, 1))
    if problems:
        shown = "\n".join(f"  {problem}" for problem in problems)
        print(f"{len(problems)} of {len(items)} pictures cannot be used:\n{shown}")
        sys.exit(1)
    print(f"All {len(items)} pictures can be decoded.")


if __name__ == "__main__":
    main()
