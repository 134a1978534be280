"""Trained models at work: pictures in, scores out."""

from compat.bootstrap import ensure_dassl

ensure_dassl()

from prediction.trained_model import TrainedModel, load_run, zero_shot

__all__ = ["TrainedModel", "load_run", "zero_shot"]
