"""A run's scores of its training or validation images: saved ones, or computed now."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from evaluation.fitted.fitted_files import Origin
from evaluation.metrics.threshold_metrics import log_odds
from evaluation.results.reports import load_results, result_files
from evaluation.results.saved_scores import SavedScores, load_scores
from prediction.trained_model import TrainedModel
from trainers.base.training_data import TrainingData

SPLITS = ("val", "train", "test")


class SplitScores(NamedTuple):
    """What a model makes of the images of a split, in the order of its list.

    Attributes:
        log_odds: [N, C], fp64, of the scores.
        targets: [N, C]: 1 present, 0 absent, -1 unknown.
        origin: which model's, which images.
    """

    log_odds: Tensor
    targets: Tensor
    origin: Origin


def split_scores(model: TrainedModel, split: str, saved: bool = True) -> SplitScores:
    """Scores of one of a run's splits.

    Args:
        model: of a run's folder.
        split: one of `SPLITS`.
        saved: whether scores that the run has saved (TEST.SAVE_SCORES) will do; they are the same
            up to rounding, and need no pictures.

    Raises:
        ValueError: the data set has no such images, or saved scores are damaged.
        OSError: scores must be computed, and pictures or lists are absent.
    """
    scores, source = split_logits(model, split, saved)
    odds = log_odds(scores.logits, softmax=model.scored.score == "softmax")
    origin = Origin.of(model.scored, split, len(odds), source)
    return SplitScores(odds, scores.targets, origin)


def split_logits(model: TrainedModel, split: str, saved: bool = True) -> tuple[SavedScores, str]:
    """Logits of one of a run's splits, and where they are from; see `split_scores`."""
    found = _saved_scores(model, split) if saved else None
    return found or (_computed_scores(model, split), "evaluation")


def _saved_scores(model: TrainedModel, split: str) -> tuple[SavedScores, str] | None:
    """Scores that the run has left of this epoch, and their file's name."""
    files = result_files(model.folder, evaluation=False)
    if not files.results.is_file():
        return None
    (result,) = load_results(files.results)
    path = files.training_scores if split == "train" else files.scores
    evaluated = split in ("train", result["split"])
    if not evaluated or result.get("epoch") != model.epoch or not path.is_file():
        return None
    scores = load_scores(path)
    if scores.logits.shape[1] != len(model.classnames):
        raise ValueError(f"{path} has {scores.logits.shape[1]} classes, the run has others.")
    return scores, path.name


def _computed_scores(model: TrainedModel, split: str) -> SavedScores:
    cfg = model.cfg.clone()
    cfg.defrost()
    cfg.DATASET.TEST_PICTURES = split == "test"
    data = TrainingData(cfg, max(cfg.SEED, 0))
    if split == "val" and not data.dataset.val:
        raise ValueError(
            f"The run's {model.cfg.DATASET.NAME} has no validation images: train with some held "
            "out (DATASET.VAL_FRACTION 0.2), or take those that it was trained on (--split train)."
        )
    data.build_loaders(model.model.clip, tunes_image_encoder=model.tunes_image_encoder)
    loaders = {
        "train": data.plain_train_loader,
        "val": data.val_loader,
        "test": data.test_loader,
    }
    logits, targets, paths = [], [], []
    with torch.inference_mode():
        for batch in tqdm(loaders[split], f"Score {split} images", leave=False):
            logits.append(model.logits_of(data.test_features(batch)).cpu())
            targets.append(data.batch_targets(batch).cpu())
            paths += batch.get("impath", ())
    return SavedScores(torch.cat(logits), torch.cat(targets), paths)
