"""A trained model for other class names than it was trained with, without reading CLIP again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from prediction.trained_model import TrainedModel, is_class_specific
from trainers.base.tower_tuning import share_tuned

MAX_CLASSES = 1000  # a text feature each; typed by hand there are fewer


def parse_classnames(text: str) -> list[str]:
    """Class names out of a text, one a line.

    Args:
        text: spaces around a name and empty lines do not count.

    Raises:
        ValueError: there is none, one is there twice, or there are more than `MAX_CLASSES`.
    """
    names = [name for line in text.splitlines() if (name := " ".join(line.split()))]
    if not names:
        raise ValueError("There is no class name; write at least one, one a line.")
    if len(names) > MAX_CLASSES:
        raise ValueError(f"There are {len(names):,} class names; give at most {MAX_CLASSES:,}.")
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise ValueError(f"The class name {twice!r} is there twice; take one of them out.")
    return names


def why_classes_stay(run: TrainedModel) -> str:
    """Why a model cannot take other class names, as a sentence; "" if it can."""
    if not is_class_specific(run.cfg):
        return ""
    method = run.cfg.TRAINER.NAME
    reason = f"{run.name} keeps its {len(run.classnames)} classes: {method} trained a part of its "
    reason += "own for each of them, and a new class would have none."
    if "CSC" in run.cfg.TRAINER[method.upper()]:
        reason += f" Contexts that all classes share (TRAINER.{method.upper()}.CSC False) take any."
    return reason


def with_classes(run: TrainedModel, classnames: Sequence[str]) -> TrainedModel:
    """The same weights and towers for other classes.

    Args:
        run: a trained model, which stays as it is.
        classnames: C different names.

    Returns:
        A model that shares the towers, so features of images serve both.

    Raises:
        ValueError: the model has a part of its own for each class, or a prompt becomes too long.
    """
    if reason := why_classes_stay(run):
        raise ValueError(reason)
    options = vars(run.model.options).copy()
    if "UNSEEN" in options:
        options["UNSEEN"] = []  # names classes of the training, which is over
    model = type(run.model)(classnames, run.model.clip, seed=run.model.seed, **options).eval()
    if model.learner is not None:
        share_tuned(run.model.learner, model.learner)
        model.learner.load_state_dict(run.model.learner.state_dict())
    return dataclasses.replace(run, model=model)
