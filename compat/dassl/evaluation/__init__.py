"""Evaluators and their registry."""

from .base import EvaluatorBase
from .build import EVALUATOR_REGISTRY, build_evaluator
from .evaluator import Classification

__all__ = ["EVALUATOR_REGISTRY", "Classification", "EvaluatorBase", "build_evaluator"]
