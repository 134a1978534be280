"""Trained models at work: pictures in, scores out."""

from compat.bootstrap import ensure_dassl

ensure_dassl()

from prediction.picture_list import list_pictures
from prediction.predictor import Prediction, Predictor
from prediction.trained_model import TrainedModel, load_run, zero_shot

__all__ = ["Prediction", "Predictor", "TrainedModel", "list_pictures", "load_run", "zero_shot"]
