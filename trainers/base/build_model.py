"""A method's model as a config asks for it."""

from __future__ import annotations

from collections.abc import Sequence

from yacs.config import CfgNode

from modeling.encoders.frozen_clip import FrozenClip
from modeling.prompts.prompt_model import PromptModel
from modeling.tuning.recomputation import recompute_blocks
from trainers.base.options import model_options
from trainers.base.tower_tuning import tune


def build_model(
    cfg: CfgNode,
    model: type[PromptModel],
    options: CfgNode,
    classnames: Sequence[str],
    clip: FrozenClip,
    **more: object,
) -> PromptModel:
    """Build a method's model, with the parts of the towers that learn in its learner.

    Args:
        cfg: SEED, TRAINER.TUNE and TRAIN.RECOMPUTE count.
        model: the method's model.
        options: the method's own node of the config.
        classnames: C names.
        clip: the towers, which change where TRAINER.TUNE lets them learn.
        **more: further arguments of the model, such as its `criterion`.

    Raises:
        ValueError: options that the model or TRAINER.TUNE refuses.
    """
    own = model_options(model, options)
    built = model(classnames, clip, seed=max(cfg.SEED, 0), **more, **own)
    tune(built, cfg)
    if cfg.TRAIN.RECOMPUTE:
        recompute_blocks(clip.clip_model.visual)
    return built
