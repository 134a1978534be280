"""What an exported model says of itself: classes, thresholds, preprocessing and origin."""

from __future__ import annotations

import json

import torch
from torch import Tensor

from common.download import file_digest
from evaluation.fitted.saved_thresholds import load_thresholds
from loading.transforms import picture_size
from modeling.towers.backbones import find_backbone
from prediction.trained_model import TrainedModel


def threshold_log_odds(run: TrainedModel) -> Tensor:
    """What the log-odds of each class have to exceed for it to count as present: [C], fp64.

    Those of the run's thresholds.json where it has one for this model, else TEST.THRESHOLD's.

    Raises:
        ValueError: its thresholds.json is damaged.
    """
    chosen = load_thresholds(run.folder, run.scored) if run.folder else None
    if chosen is not None:
        return chosen.column("log_odds")
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
        "backbone_sha256": file_digest(find_backbone(cfg.MODEL.BACKBONE.NAME).weights),
        "backbone_tuned": json.dumps(run.tunes_image_encoder),
        "score": cfg.TEST.SCORE,
        "probability": "softmax" if cfg.TEST.SCORE == "softmax" else "sigmoid",
        "size": json.dumps(list(picture_size(inputs))),
        "resize": inputs.RESIZE,
        "interpolation": inputs.INTERPOLATION,
        "mean": json.dumps(list(inputs.PIXEL_MEAN) if normalises else [0.0] * 3),
        "std": json.dumps(list(inputs.PIXEL_STD) if normalises else [1.0] * 3),
    }
