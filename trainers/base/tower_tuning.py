"""Light tuning of CLIP's towers, for every method: TRAINER.TUNE (docs/tuning.md)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from yacs.config import CfgNode

from common.config.config_rules import Choice, Number, declare_rules
from modeling.clip.precision import TRAINABLE
from modeling.prompts.prompt_learner import PromptLearner
from modeling.prompts.prompt_model import PromptModel
from modeling.tuning.kinds import KINDS, NONE, OPTIONS, tune_tower
from modeling.tuning.towers import IMAGE, PARTS, TEXT, TOWERS, chosen_towers, tower_of

_SEED_OFFSET = 7  # of random starts, away from those of the contexts
_DEFAULTS: dict[str, Any] = {
    "NAME": NONE,  # none | lora | vpt | bias | norm | last_blocks
    "TOWER": IMAGE,  # image | text | both
    "RANK": 4,  # lora: of the change of each matrix
    "TOKENS": 8,  # vpt: prompts, of each block where DEEP
    "DEEP": True,  # vpt: every block has prompts of its own; else those of the first pass on
    "BLOCKS": 1,  # last_blocks: how many
    "LR_MULT": 1.0,  # what is tuned learns at this * OPTIM.LR
}

declare_rules(
    "TRAINER.TUNE",
    {
        "NAME": Choice(KINDS),
        "TOWER": Choice(TOWERS),
        "RANK": Number(least=1),
        "TOKENS": Number(least=1),
        "BLOCKS": Number(least=1),
        "LR_MULT": Number(above=0),
    },
)


def extend_cfg(cfg: CfgNode) -> None:
    """Declare what of the towers is tuned beside the contexts, and how."""
    cfg.TRAINER.TUNE = CfgNode(dict(_DEFAULTS))


def tuned_towers(cfg: CfgNode) -> tuple[str, ...]:
    """The towers in which a config lets a part learn: "image", "text", both or none."""
    options = cfg.TRAINER.TUNE
    return () if options.NAME == NONE else chosen_towers(options.TOWER)


def check_tuning(cfg: CfgNode, model: type[PromptModel], precision: str, whole: bool) -> None:
    """Refuse what would do nothing, or fail late.

    Args:
        cfg: the run's config, whose values keep their keys' rules.
        model: the method's model.
        precision: PREC of the method.
        whole: whether the method trains the whole image tower anyway.

    Raises:
        ValueError: with the key and what to do.
    """
    kind, towers = cfg.TRAINER.TUNE.NAME, tuned_towers(cfg)
    _check_all_read(cfg.TRAINER.TUNE)
    if not towers:
        return
    if whole or not model.trains:
        does = "trains the whole image tower" if whole else "trains nothing"
        raise ValueError(f"{cfg.TRAINER.NAME} {does}; set TRAINER.TUNE.NAME none.")
    if precision not in TRAINABLE:
        raise ValueError(
            f"TRAINER.TUNE.NAME {kind} trains in a tower, and PREC {precision} would lose small "
            f"steps; set TRAINER.{cfg.TRAINER.NAME.upper()}.PREC fp32 or amp."
        )
    if TEXT in towers and kind == "vpt":
        raise ValueError(
            "TRAINER.TUNE.NAME vpt is for images: the text tower's tokens are the contexts, which "
            "learn anyway. Set TRAINER.TUNE.TOWER image, or use lora, bias, norm or last_blocks."
        )
    if TEXT in towers and cfg.DATASET.TEXT_AS_IMAGE:
        raise ValueError(
            "Captions in place of images are encoded once, and a text tower that learns would "
            "read them anew in every step; set TRAINER.TUNE.NAME none."
        )


def _check_all_read(options: CfgNode) -> None:
    """Refuse a value that the kind does not read."""
    kind = options.NAME
    read = {"NAME", *OPTIONS.get(kind, ()), *(["TOWER", "LR_MULT"] if kind != NONE else [])}
    for key, default in _DEFAULTS.items():
        if key not in read and options[key] != default:
            raise ValueError(
                f"TRAINER.TUNE.{key} {options[key]} does nothing with TRAINER.TUNE.NAME {kind}; "
                f"leave it at {default}, or choose a kind that reads it."
            )


def tune(model: PromptModel, cfg: CfgNode) -> None:
    """Let a part of the towers learn with a model, if the config says so.

    Args:
        model: whose learner then holds those parts under the names of `PARTS`, and whose CLIP is
            changed in place.
        cfg: the run's config.

    Raises:
        ValueError: the model trains nothing, reads no text tower where that is to be tuned, or its
            CLIP does not suit the kind.
    """
    towers, options, learner = tuned_towers(cfg), cfg.TRAINER.TUNE, model.learner
    if not towers:
        return
    if learner is None:
        raise ValueError(f"{type(model).__name__} trains nothing; set TRAINER.TUNE.NAME none.")
    prompts = any(isinstance(module, PromptLearner) for module in learner.modules())
    if TEXT in towers and not prompts:
        raise ValueError(
            f"{cfg.TRAINER.NAME} learns no contexts with these options, so that nothing passes the "
            "text tower in training; set TRAINER.TUNE.TOWER image."
        )
    generator = torch.Generator().manual_seed(model.seed + _SEED_OFFSET)
    for tower in towers:
        part = tune_tower(
            tower_of(model.clip.clip_model, tower),
            options.NAME,
            options.RANK,
            options.TOKENS,
            options.DEEP,
            options.BLOCKS,
            generator,
        )
        learner.add_module(PARTS[tower], part)


def share_tuned(learner: nn.Module, other: nn.Module) -> None:
    """Let another learner on the same towers hold the parts of them that were tuned, too."""
    for name in PARTS.values():
        if hasattr(learner, name):
            other.add_module(name, learner.get_submodule(name))


def groups_with_rates(learner: nn.Module, cfg: CfgNode) -> list[dict[str, Any]] | None:
    """The optimiser's groups: the towers' parts at their own rate, and the rest; None: one."""
    towers = tuned_towers(cfg)
    if not towers:
        return None
    tuned = [p for tower in towers for p in learner.get_submodule(PARTS[tower]).parameters()]
    ours = {id(parameter) for parameter in tuned}
    rest = [parameter for parameter in learner.parameters() if id(parameter) not in ours]
    return [{"params": rest}, {"params": tuned, "lr": cfg.OPTIM.LR * cfg.TRAINER.TUNE.LR_MULT}]
