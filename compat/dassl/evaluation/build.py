"""Registry of evaluators."""

from __future__ import annotations

from dassl.utils import Registry
from yacs.config import CfgNode

from .base import EvaluatorBase

EVALUATOR_REGISTRY = Registry("EVALUATOR")


def build_evaluator(cfg: CfgNode, **kwargs: object) -> EvaluatorBase:
    """The evaluator called `cfg.TEST.EVALUATOR`, built as `Class(cfg, **kwargs)`."""
    return EVALUATOR_REGISTRY.build(cfg.TEST.EVALUATOR, cfg.VERBOSE, cfg, **kwargs)
