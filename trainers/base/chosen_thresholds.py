"""An evaluation's second look: at the thresholds that its run's folder holds."""

from __future__ import annotations

from pathlib import Path

from yacs.config import CfgNode

from evaluation.evaluator import MultiLabelLongTail
from evaluation.fitted.fitted_files import ScoredModel
from evaluation.fitted.saved_thresholds import load_thresholds
from loading.cache.feature_key import weights_digest
from modeling.prompts.prompt_model import PromptModel
from trainers.base.prompt_trainer import PromptTrainer


def use_chosen_thresholds(trainer: PromptTrainer, folder: str | Path) -> None:
    """Let a trainer's evaluator report also at thresholds chosen for its weights, if there are any.

    Args:
        trainer: with the weights that are to be evaluated.
        folder: of the run that they come from.

    Raises:
        ValueError: its thresholds.json is damaged.
    """
    if not isinstance(trainer.evaluator, MultiLabelLongTail):
        return
    scored = scored_model(trainer.cfg, trainer.model, trainer.record.epoch, trainer.clip_digest)
    chosen = load_thresholds(folder, scored)
    if chosen is not None:
        trainer.evaluator.use_thresholds(chosen)


def scored_model(cfg: CfgNode, model: PromptModel, epoch: int, clip_digest: str) -> ScoredModel:
    """What a model's scores depend on, to compare with what thresholds were chosen for.

    Args:
        cfg: the run's config.
        model: with its trained weights.
        epoch: epochs of training behind them.
        clip_digest: SHA-256 of CLIP's weights as they were loaded.
    """
    score = "softmax" if cfg.TEST.SCORE == "softmax" else "sigmoid"
    weights = clip_digest if model.learner is None else weights_digest(model.learner)
    names, pictures = list(model.classnames), _pictures(cfg.INPUT)
    return ScoredModel(cfg.TRAINER.NAME, epoch, weights, score, names, pictures)


def _pictures(inputs: CfgNode) -> str:
    """How evaluations see pictures, as "224 x 224 (squash, bicubic), views flip 224 288"."""
    height, width = inputs.SIZE
    text = f"{height} x {width} ({inputs.RESIZE}, {inputs.INTERPOLATION})"
    views = {"views": inputs.TEST_VIEWS, "regions of views": inputs.REGION_VIEWS}
    return ", ".join([text, *(f"{name} {value}" for name, value in views.items() if value)])
