"""The configuration of a run: Dassl's defaults, our keys, yaml files, flags and overrides."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import random
from ast import literal_eval
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from compat.bootstrap import ensure_dassl

ensure_dassl()

from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY
from yacs.config import CfgNode

from common.choices import nearest
from common.yaml_files import read_with_bases, read_yaml
from compat.coop import declare_coop_keys
from modeling.clip_loader import import_clip

import_clip()  # before files of others say `from clip import clip`, see there

import datasets
import evaluation
import losses
import trainers

# What may change between two runs into one folder without making them two experiments.
_HARMLESS = (
    *("OUTPUT_DIR", "RESUME", "VERBOSE", "USE_CUDA", "DATASET.ROOT", "TRAIN."),
    *("TEST.SCORE", "TEST.THRESHOLD", "TEST.SAVE_SCORES", "TEST.PER_CLASS_RESULT", "TEST.NO_TEST"),
    *("DATALOADER.NUM_WORKERS", "DATALOADER.TEST.", "DATALOADER.CACHE_DIR"),
)


def build_cfg(args: argparse.Namespace) -> CfgNode:
    """Defaults, then the data set's yaml, the trainer's yaml, flags, and overrides.

    Raises:
        ValueError: an unknown key or a value of another type, with the nearest valid key.
        FileNotFoundError: a yaml file that does not exist.
    """
    cfg = default_cfg()
    defaults = dict(flatten(cfg))
    methods = {name.upper() for name in TRAINER_REGISTRY.registered_names()}
    undeclared = tuple(f"TRAINER.{name}." for name in methods - set(cfg.TRAINER))
    for path in (args.dataset_config_file, args.config_file):
        if path:
            merge_yaml(cfg, Path(path), defaults, undeclared)
    flags = {
        "DATASET.ROOT": args.root,
        "OUTPUT_DIR": args.output_dir or (args.eval_only and args.model_dir),
        "RESUME": args.resume,
        "TRAINER.NAME": args.trainer,
        "MODEL.BACKBONE.NAME": args.backbone,
        "MODEL.HEAD.NAME": args.head,
        "INPUT.TRANSFORMS": args.transforms,
        "DATASET.SOURCE_DOMAINS": args.source_domains,
        "DATASET.TARGET_DOMAINS": args.target_domains,
    }
    given = [(key, value) for key, value in flags.items() if value]
    override(cfg, given, defaults, source="flags")
    if len(args.opts) % 2:
        raise ValueError(
            f"Overrides come in pairs KEY VALUE, got {len(args.opts)} words: {' '.join(args.opts)}"
        )
    pairs = list(zip(args.opts[::2], args.opts[1::2], strict=True))
    override(cfg, pairs, defaults, source="command line")
    if args.seed is not None:
        cfg.SEED = args.seed
    return cfg


def default_cfg() -> CfgNode:
    """Dassl's keys and those of all packages here, with their defaults."""
    cfg = get_cfg_default()
    for package in (evaluation, datasets, losses, trainers):
        for found in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{found.name}")
            if hasattr(module, "extend_cfg"):
                module.extend_cfg(cfg)
    declare_coop_keys(cfg)
    return cfg


def merge_yaml(
    cfg: CfgNode, path: Path, defaults: dict[str, object], undeclared: tuple[str, ...] = ()
) -> None:
    """Set the keys of a yaml file, after those of the files that its `_BASE_` lists.

    Args:
        cfg: changed in place.
        path: the file; paths in its `_BASE_` are relative to its folder.
        defaults: see `override`; keys that the file declares are added.
        undeclared: nodes ("TRAINER.MAPLE.") of methods whose modules declare no keys, as others
            declare theirs in their train.py. Here the yaml file does.

    Raises:
        FileNotFoundError: the file, or one that it builds on, does not exist.
        ValueError: an unknown key, a value of another type, or a file that `read_yaml` refuses.
    """
    for file, mapping in read_with_bases(path):
        pairs = list(flatten(mapping))
        for key, value in pairs:
            if key.startswith(undeclared) and key not in defaults:
                *parents, name = key.split(".")
                parent = cfg
                for part in parents:
                    parent = parent.setdefault(part, CfgNode())
                parent[name] = defaults[key] = _converted(key, value, None, str(file))
        override(cfg, pairs, defaults, source=str(file))


def override(
    cfg: CfgNode,
    pairs: Sequence[tuple[str, object]],
    defaults: Mapping[str, object],
    source: str,
) -> None:
    """Set keys of a config.

    Args:
        cfg: changed in place.
        pairs: dotted key and value; text is read as Python where the key is not text itself.
        defaults: every key with the value whose type counts; None takes any. What an earlier file
            has set does not matter: after its 1 a later 0.5 is still welcome.
        source: where the pairs come from, for messages.

    Raises:
        ValueError: an unknown key (the nearest valid one is named) or a value of another type.
    """
    for key, value in pairs:
        if key not in defaults:
            close = nearest(key, defaults, cutoff=0.0)
            raise ValueError(f"{source}: unknown config key {key!r}. Did you mean {close!r}?")
        *path, name = key.split(".")
        node = cfg
        for part in path:
            node = node[part]
        node[name] = _converted(key, value, defaults[key], source)


def flatten(node: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Dotted keys of a config, each with its value."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
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


def settle_seed(cfg: CfgNode, folder: Path) -> None:
    """Give an unseeded run a seed: that of the run in `folder`, or a fresh one.

    Held-out images and known labels depend on it, so an evaluation needs its training run's seed.
    """
    if cfg.SEED < 0:
        earlier = _earlier(folder)
        cfg.SEED = earlier["SEED"] if earlier else random.SystemRandom().randrange(2**31)


def refuse_other_experiment(cfg: CfgNode, folder: Path) -> None:
    """Protect a run's folder from being continued with other settings.

    Keys that its config.yaml lacks, as one of an earlier version may, count as their defaults.

    Raises:
        ValueError: the folder holds checkpoints of a run with other settings; they are listed.
    """
    earlier = _earlier(folder)
    if earlier is None or not any(folder.glob("*/model*.pth.tar*")):
        return
    now, before = dict(flatten(cfg)), dict(flatten(default_cfg()))
    before.update(flatten(earlier))
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
    """The config that a run left in its folder, if there is one."""
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
