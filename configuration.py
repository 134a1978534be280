"""The configuration of a run: Dassl's defaults, our keys, yaml files, flags and overrides."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from compat.bootstrap import ensure_dassl

ensure_dassl()

from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY
from dassl.evaluation import EVALUATOR_REGISTRY
from dassl.utils import Registry
from yacs.config import CfgNode

from common.choices import check_choice, nearest, spelled
from common.config.config_rules import check_values
from common.config.config_values import Given, flatten, merge_pairs, merge_yaml, override, paired
from common.config.former_spellings import renamed
from common.config.recipes import (
    BACKBONE,
    backbone_file,
    backbone_name,
    check_config_file,
    recipe_file,
    value_in,
)
from common.plugins import BrokenModule, import_modules
from compat.coop import declare_coop_keys
from modeling.clip.loader import import_clip

import_clip()  # before files of others say `from clip import clip`, see there

import datasets
import evaluation
import losses
import trainers
from trainers.base import PromptTrainer
from trainers.base.saving.run_config import read_run_config


def build_cfg(args: argparse.Namespace) -> CfgNode:
    """Defaults, then the yaml files of data set, backbone and method, flags, and overrides.

    Raises:
        ValueError: an unknown key or name or a value of another type, with the nearest valid one,
            a value that breaks the rule of its key, or a key of a method that does not run.
        FileNotFoundError: a yaml file that does not exist.
    """
    cfg = default_cfg()
    defaults, given = dict(flatten(cfg)), []
    methods = {name.upper() for name in TRAINER_REGISTRY.registered_names()}
    undeclared = tuple(f"TRAINER.{name}." for name in methods - set(cfg.TRAINER))
    earlier = run_config(args)
    if earlier:
        merge_run(cfg, earlier, defaults, undeclared)
    backbone, files = config_files(args, has_recipe=earlier is not None)
    for path in files:
        given += merge_yaml(cfg, path, defaults, undeclared)
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
    override(cfg, [pair for pair in flags.items() if pair[1]], defaults, source="flags")
    given += override(cfg, paired(args.opts, defaults), defaults, source="command line")
    if args.seed is not None:
        if args.seed < 0:
            raise ValueError(f"--seed must be 0 or more, got {args.seed}. Without it one is drawn.")
        cfg.SEED = args.seed
    if backbone:
        cfg.MODEL.BACKBONE.NAME = backbone_name(backbone)
    settle_names(cfg)
    settle_needs(cfg, args.eval_only)
    check_values(cfg, methods=own_nodes())
    refuse_idle_keys(cfg, given, defaults)
    return cfg


def run_config(args: argparse.Namespace) -> Path | None:
    """The config that the run to evaluate left in its folder, if one is named and has it."""
    path = Path(args.model_dir, "config.yaml")
    return path if args.eval_only and args.model_dir and path.is_file() else None


def used_files(args: argparse.Namespace) -> list[Path]:
    """The yaml files that a command's config is put together from, the weakest first."""
    earlier = run_config(args)
    files = config_files(args, has_recipe=earlier is not None)[1]
    return [earlier, *files] if earlier else files


def merge_run(
    cfg: CfgNode, path: Path, defaults: dict[str, object], undeclared: tuple[str, ...]
) -> None:
    """Set the keys of an earlier run; those of methods that are gone since then do not matter.

    Args:
        cfg: changed in place.
        path: the run's config.yaml.
        defaults: every key with its default.
        undeclared: see `merge_yaml`.

    Raises:
        ValueError: the file is damaged, or a key is unknown or breaks its rule.
    """
    settings = read_run_config(path.parent)
    own = f"TRAINER.{settings['TRAINER']['NAME'].upper()}."
    pairs = [
        (key, value)
        for key, value in ((renamed(key), value) for key, value in flatten(settings))
        if key in defaults or key.startswith(own) or not key.startswith("TRAINER.")
    ]
    merge_pairs(cfg, pairs, defaults, str(path), undeclared)


def config_files(
    args: argparse.Namespace, has_recipe: bool = False
) -> tuple[Path | None, list[Path]]:
    """Yaml files of a run: its data set's, its backbone's, and --config-file or else a recipe.

    The backbone is that of the overrides, the flag, or the files; a method of ours without any has
    the default one. A network that others bring may have none.

    Args:
        args: the command line.
        has_recipe: whether an earlier run has settled the recipe and the backbone already; another
            backbone may still be named.

    Returns:
        The backbone's file, if it has one, and all files in the order in which they count.
    """
    words = dict(zip(args.opts[::2], args.opts[1::2], strict=False))
    own = [Path(path) for path in (args.dataset_config_file, args.config_file) if path]
    for path in own:
        check_config_file(path)

    def named(key: str, flag: str) -> str:
        in_files = (value_in(path, key) for path in reversed(own))
        return words.get(key) or flag or next(filter(None, in_files), "")

    names = TRAINER_REGISTRY.registered_names()
    trainer = spelled(named("TRAINER.NAME", args.trainer), names)
    ours = trainer in names and issubclass(TRAINER_REGISTRY.get(trainer), PromptTrainer)
    default = default_cfg().MODEL.BACKBONE.NAME if ours and not has_recipe else ""
    name = named(BACKBONE, args.backbone) or default
    backbone = backbone_file(name) if name else None
    recipe = None if args.config_file or has_recipe else recipe_file(trainer, backbone)
    files = [args.dataset_config_file, backbone, args.config_file, recipe]
    return backbone, [Path(path) for path in files if path]


def settle_names(cfg: CfgNode) -> None:
    """Spell method, data set and evaluator as they are registered.

    Raises:
        ValueError: an unknown name, with the nearest one and the files that are broken.
    """
    for node, registry, broken in (
        (cfg.TRAINER, TRAINER_REGISTRY, trainers.BROKEN),
        (cfg.DATASET, DATASET_REGISTRY, datasets.BROKEN),
    ):
        if node.NAME:
            key = "TRAINER.NAME" if node is cfg.TRAINER else "DATASET.NAME"
            node.NAME = registered(key, node.NAME, registry, broken)
    cfg.TEST.EVALUATOR = registered("TEST.EVALUATOR", cfg.TEST.EVALUATOR, EVALUATOR_REGISTRY, [])


def settle_needs(cfg: CfgNode, eval_only: bool) -> None:
    """Ask for no picture, caption or starting point that nobody will look at."""
    method = TRAINER_REGISTRY.get(cfg.TRAINER.NAME) if cfg.TRAINER.NAME else None
    ours = method is not None and issubclass(method, PromptTrainer)
    if eval_only and ours:
        cfg.DATASET.TEXT_AS_IMAGE, cfg.MODEL.INIT_WEIGHTS, cfg.RESUME = False, "", ""
    needless = ours and (eval_only or not method.model_class.trains)
    cfg.DATASET.TRAIN_PICTURES = not (needless or cfg.DATASET.TEXT_AS_IMAGE)
    validates = cfg.TEST.SPLIT == "val" and cfg.TEST.FINAL_MODEL != "best_test"
    cfg.DATASET.TEST_PICTURES = not (ours and validates)


def registered(key: str, name: str, registry: Registry, broken: Sequence[BrokenModule]) -> str:
    """A registered name, whatever the case in which it is given.

    Args:
        key: what the user sets it with, for the message.
        name: what was given.
        registry: holds the names.
        broken: files that might have registered others.

    Raises:
        ValueError: there is none, or the file that has it is broken.
    """
    names = registry.registered_names()
    name = spelled(name, names)
    for module in broken:
        known = name in names and registry.get(name).__module__ == module.name
        if known or module.holds(name):
            raise ValueError(f"{key} {name} cannot be used, as its file is broken: {module}.")
    if name not in names and broken:
        lost = "; ".join(map(str, broken))
        raise ValueError(f"{key} is {name!r}, which no file has, unless a broken one: {lost}.")
    check_choice(key, name, names)
    return name


def refuse_idle_keys(cfg: CfgNode, given: Given, defaults: Mapping[str, object]) -> None:
    """Refuse keys of a method that does not run: they would do nothing.

    A whole config, as runs leave it, names the keys of all methods with their defaults; these pass.
    So does everything for a method of others, which may read the node of another one.

    Args:
        cfg: with all keys set.
        given: where a key was set, and the key.
        defaults: every key with its default.

    Raises:
        ValueError: such a key, with the nearest one of the method that runs.
    """
    method = TRAINER_REGISTRY.get(cfg.TRAINER.NAME) if cfg.TRAINER.NAME else None
    if method is None or not issubclass(method, PromptTrainer):
        return
    own = [parent.__name__.upper() for parent in method.__mro__]
    nodes = {*get_cfg_default().TRAINER, *map(str.upper, TRAINER_REGISTRY.registered_names())}
    now = dict(flatten(cfg))
    for source, key in given:
        top, _, rest = key.partition(".")
        node, _, name = rest.partition(".")
        idle = top == "TRAINER" and name and node in nodes and node not in own
        if idle and now[key] != defaults[key]:
            candidates = [k for k in defaults if k.startswith(f"TRAINER.{own[0]}.")]
            close = nearest(f"TRAINER.{own[0]}.{name}", candidates, cutoff=0.0)
            raise ValueError(
                f"{source}: {key} does nothing, for {cfg.TRAINER.NAME} runs, which does not read "
                f"it. Did you mean {close!r}?"
            )


def own_nodes() -> set[str]:
    """Nodes below TRAINER of our methods, and of others that build on ours."""
    names = TRAINER_REGISTRY.registered_names()
    return {name.upper() for name in names if issubclass(TRAINER_REGISTRY.get(name), PromptTrainer)}


def default_cfg() -> CfgNode:
    """Dassl's keys and those of all packages here, with their defaults."""
    cfg = get_cfg_default()
    evaluators = import_modules(evaluation.__name__, evaluation.__path__)[0]
    for module in (*evaluators, *datasets.MODULES, *losses.MODULES, *trainers.MODULES):
        if hasattr(module, "extend_cfg"):
            module.extend_cfg(cfg)
    declare_coop_keys(cfg)
    return cfg
