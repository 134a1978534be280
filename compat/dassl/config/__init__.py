"""The default config and how to obtain it."""

from __future__ import annotations

from yacs.config import CfgNode

from .defaults import cfg_default as cfg_default


def get_cfg_default() -> CfgNode:
    """A fresh copy of the default config; changing it leaves the defaults alone."""
    return cfg_default.clone()


def clean_cfg(cfg: CfgNode, trainer: str) -> None:
    """Drop the nodes of all other trainers, so that a printed config shows what matters.

    Args:
        cfg: config, changed in place.
        trainer: registry name; the node `TRAINER.<NAME IN CAPITALS>` is kept.
    """
    for key in set(cfg.TRAINER) - {"NAME", trainer.upper()}:
        cfg.TRAINER.pop(key)
