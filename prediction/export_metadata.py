"""What an exported model says of itself: classes, thresholds, preprocessing and origin."""

from __future__ import annotations

import json

import torch
from torch import Tensor

from common.download import file_digest
from modeling.clip.loader import weight_path
from prediction.trained_model import TrainedModel


def tunes_image_tower(run: TrainedModel) -> bool:
    """Whether the image tower is the run's own and no longer that of its backbone."""
    return hasattr(run.model.learner, "visual")


def threshold_log_odds(run: TrainedModel) -> Tensor:
    """What the log-odds of each class have to exceed for it to count as present: [C], fp64."""
    shared = torch.tensor(run.cfg.TEST.THRESHOLD, dtype=torch.float64).logit()
    return shared.repeat(len(run.classnames))


def described(run: TrainedModel) -> dict[str, str]:
    """All that the use of the logits depends on: texts by name, those that are no words in JSON."""
    cfg, inputs = run.cfg, run.cfg.INPUT
    normalises = "normalize" in inputs.TRANSFORMS
    return {
        "trainer": cfg.TRAINER.NAME,
        "classnames": json.dumps(run.classnames, ensure_ascii=False),
        "epoch": str(run.epoch),
        "selection": run.selection,
        "backbone": cfg.MODEL.BACKBONE.NAME,
        "backbone_sha256": file_digest(weight_path(cfg.MODEL.BACKBONE.NAME)),
        "backbone_tuned": json.dumps(tunes_image_tower(run)),
        "score": cfg.TEST.SCORE,
        "probability": "softmax" if cfg.TEST.SCORE == "softmax" else "sigmoid",
        "size": json.dumps(list(inputs.SIZE)),
        "resize": inputs.RESIZE,
        "interpolation": inputs.INTERPOLATION,
        "mean": json.dumps(list(inputs.PIXEL_MEAN) if normalises else [0.0] * 3),
        "std": json.dumps(list(inputs.PIXEL_STD) if normalises else [1.0] * 3),
    }
