"""Registry of trainers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dassl.utils import Registry

if TYPE_CHECKING:
    from .base import TrainerBase
from yacs.config import CfgNode

TRAINER_REGISTRY = Registry("TRAINER")


def build_trainer(cfg: CfgNode) -> TrainerBase:
    """The trainer called `cfg.TRAINER.NAME`, built as `Class(cfg)`."""
    return TRAINER_REGISTRY.build(cfg.TRAINER.NAME, cfg.VERBOSE, cfg)
