"""Sweeps: equal numbers of tried settings for every method, chosen on validation images."""

from compat.bootstrap import ensure_dassl

ensure_dassl()
