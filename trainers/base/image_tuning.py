"""Light tuning of the image tower, for every method: TRAINER.TUNE (docs/tuning.md)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from yacs.config import CfgNode

from common.config.config_rules import Choice, Number, declare_rules
from modeling.clip.precision import TRAINABLE
from modeling.prompts.prompt_model import PromptModel
from modeling.tuning.kinds import KINDS, NONE, OPTIONS, tune_image_tower

TOWER = "visual"  # what the learner calls the part of it that belongs to the image tower
_SEED_OFFSET = 7  # of random starts, away from those of the contexts
_DEFAULTS: dict[str, Any] = {
    "NAME": NONE,  # none | lora | vpt | bias | norm | last_blocks
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
        "RANK": Number(least=1),
        "TOKENS": Number(least=1),
        "BLOCKS": Number(least=1),
        "LR_MULT": Number(above=0),
    },
)


def extend_cfg(cfg: CfgNode) -> None:
    """Declare what of the image tower is tuned beside the contexts, and how."""
    cfg.TRAINER.TUNE = CfgNode(dict(_DEFAULTS))


def tunes(cfg: CfgNode) -> bool:
    """Whether a config asks for a part of the image tower to learn."""
    return cfg.TRAINER.TUNE.NAME != NONE


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
    kind = cfg.TRAINER.TUNE.NAME
    read = {"NAME", *OPTIONS.get(kind, ()), *(["LR_MULT"] if kind != NONE else [])}
    for key, default in _DEFAULTS.items():
        value = cfg.TRAINER.TUNE[key]
        if key not in read and value != default:
            raise ValueError(
                f"TRAINER.TUNE.{key} {value} does nothing with TRAINER.TUNE.NAME {kind}; leave it "
                f"at {default}, or choose a kind that reads it."
            )
    if kind == NONE:
        return
    if whole or not model.trains:
        does = "trains the whole image tower" if whole else "trains nothing"
        raise ValueError(f"{cfg.TRAINER.NAME} {does}; set TRAINER.TUNE.NAME none.")
    if precision not in TRAINABLE:
        raise ValueError(
            f"TRAINER.TUNE.NAME {kind} trains in the image tower, and PREC {precision} would lose "
            f"small steps; set TRAINER.{cfg.TRAINER.NAME.upper()}.PREC fp32 or amp."
        )


def tune(model: PromptModel, cfg: CfgNode) -> None:
    """Let a part of the image tower learn with a model, if the config says so.

    Args:
        model: whose learner then holds that part as `visual`, and whose CLIP is changed in place.
        cfg: the run's config.

    Raises:
        ValueError: the model trains nothing, or its CLIP does not suit the kind.
    """
    if not tunes(cfg):
        return
    if model.learner is None:
        raise ValueError(f"{type(model).__name__} trains nothing; set TRAINER.TUNE.NAME none.")
    options = cfg.TRAINER.TUNE
    part = tune_image_tower(
        model.clip.clip_model.visual,
        options.NAME,
        options.RANK,
        options.TOKENS,
        options.DEEP,
        options.BLOCKS,
        torch.Generator().manual_seed(model.seed + _SEED_OFFSET),
    )
    model.learner.add_module(TOWER, part)


def share_tuned(learner: nn.Module, other: nn.Module) -> None:
    """Let another learner on the same towers hold the part of them that was tuned, too."""
    if hasattr(learner, TOWER):
        other.add_module(TOWER, learner.get_submodule(TOWER))


def groups_with_rates(learner: nn.Module, cfg: CfgNode) -> list[dict[str, Any]] | None:
    """The optimiser's groups: the image tower's part at its own rate, and the rest; None: one."""
    if not tunes(cfg):
        return None
    tower = list(learner.get_submodule(TOWER).parameters())
    ours = {id(parameter) for parameter in tower}
    rest = [parameter for parameter in learner.parameters() if id(parameter) not in ours]
    return [{"params": rest}, {"params": tower, "lr": cfg.OPTIM.LR * cfg.TRAINER.TUNE.LR_MULT}]
