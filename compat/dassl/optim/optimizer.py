"""Build the optimiser of a config."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from yacs.config import CfgNode


def build_optimizer(
    model: nn.Module | Iterable, optim_cfg: CfgNode, param_groups: Iterable | None = None
) -> Optimizer:
    """The optimiser called `optim_cfg.NAME`.

    Args:
        model: module, all of whose parameters are optimised, or parameters (groups).
        optim_cfg: `cfg.OPTIM`. With STAGED_LR the direct children of the module that are not in
            NEW_LAYERS learn at LR * BASE_LR_MULT.
        param_groups: optimised instead of `model`.

    Raises:
        ValueError: unknown name.
        TypeError: STAGED_LR with something else than a module.
    """
    builders = _builders(optim_cfg)
    if optim_cfg.NAME not in builders:
        raise ValueError(f"optim must be one of {[*builders]}, but got {optim_cfg.NAME}")
    if param_groups is not None:
        if optim_cfg.STAGED_LR:
            warnings.warn("STAGED_LR is ignored, as param_groups are given", stacklevel=2)
        groups = param_groups
    elif optim_cfg.STAGED_LR:
        groups = _staged_groups(model, optim_cfg)
    else:
        groups = model.parameters() if isinstance(model, nn.Module) else model
    optimizer_class, options = builders[optim_cfg.NAME]
    return optimizer_class(groups, lr=optim_cfg.LR, weight_decay=optim_cfg.WEIGHT_DECAY, **options)


def _builders(cfg: CfgNode) -> dict[str, tuple[Callable[..., Optimizer], dict[str, Any]]]:
    """Class and options of each optimiser."""
    adam = {"betas": (cfg.ADAM_BETA1, cfg.ADAM_BETA2)}
    return {
        "adam": (torch.optim.Adam, adam),
        "amsgrad": (torch.optim.Adam, {**adam, "amsgrad": True}),
        "sgd": (
            torch.optim.SGD,
            {
                "momentum": cfg.MOMENTUM,
                "dampening": cfg.SGD_DAMPNING,
                "nesterov": cfg.SGD_NESTEROV,
            },
        ),
        "rmsprop": (
            torch.optim.RMSprop,
            {"momentum": cfg.MOMENTUM, "alpha": cfg.RMSPROP_ALPHA},
        ),
        # Dassl's own RAdam decays the weights apart from the gradient.
        "radam": (torch.optim.RAdam, {**adam, "decoupled_weight_decay": True}),
        "adamw": (torch.optim.AdamW, adam),
    }


def _staged_groups(model: nn.Module, cfg: CfgNode) -> list[dict[str, Any]]:
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"STAGED_LR needs an nn.Module to find NEW_LAYERS in, got {type(model).__name__}"
        )
    model = model.module if isinstance(model, nn.DataParallel) else model
    new_layers = [cfg.NEW_LAYERS] if isinstance(cfg.NEW_LAYERS, str) else cfg.NEW_LAYERS
    old, new = [], []
    for name, child in model.named_children():
        (new if name in new_layers else old).extend(child.parameters())
    return [{"params": old, "lr": cfg.LR * cfg.BASE_LR_MULT}, {"params": new}]
