"""Registry of evaluators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dassl.utils import Registry

if TYPE_CHECKING:
    from .evaluator import EvaluatorBase
from yacs.config import CfgNode

EVALUATOR_REGISTRY = Registry("EVALUATOR")


def build_evaluator(cfg: CfgNode, **kwargs: object) -> EvaluatorBase:
    """The evaluator called `cfg.TEST.EVALUATOR`, built as `Class(cfg, **kwargs)`."""
    return EVALUATOR_REGISTRY.build(cfg.TEST.EVALUATOR, cfg.VERBOSE, cfg, **kwargs)
