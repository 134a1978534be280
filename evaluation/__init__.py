"""Metrics, the registered evaluator, and reports."""

from compat.bootstrap import ensure_dassl

ensure_dassl()
