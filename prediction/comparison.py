"""Scores of one picture by several models, class by class, for people to compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluation.fitted.saved_thresholds import load_thresholds
from prediction.trained_model import TrainedModel


@dataclass(frozen=True)
class Column:
    """How one model's scores are to be read.

    Attributes:
        name: of the model.
        space: what its scores are, in words.
        thresholds: of each class, the score above which it counts as present; empty where none
            was chosen.
    """

    name: str
    space: str
    thresholds: Mapping[str, float]


@dataclass(frozen=True)
class Row:
    """One class.

    Attributes:
        classname: its name.
        scores: in [0, 1], by each model; None where a model does not know the class.
    """

    classname: str
    scores: tuple[float | None, ...]


def column_of(run: TrainedModel) -> Column:
    """How a model's scores are to be read: the run's thresholds.json, or else TEST.THRESHOLD.

    Zero-shot CLIP without a run has no thresholds, for none was chosen for its scores.
    """
    softmax = run.cfg.TEST.SCORE == "softmax"
    space = f"softmax over {len(run.classnames)} classes" if softmax else "sigmoid"
    chosen = load_thresholds(run.folder, run.scored) if run.folder else None
    if chosen is not None:
        values = chosen.column("log_odds").sigmoid().tolist()
        return Column(run.name, space, dict(zip(chosen.classnames, values, strict=True)))
    classes = run.classnames if run.model.trains else ()
    return Column(run.name, space, dict.fromkeys(classes, run.cfg.TEST.THRESHOLD))


def sorted_rows(
    classnames: Sequence[Sequence[str]], scores: Sequence[Sequence[float]]
) -> list[Row]:
    """Every class that some model knows, the highest score of the first model first.

    A class that the first model does not know stands where the next one that knows it ranks it, so
    a new name is not lost at the end.

    Args:
        classnames: of each model, its C names; models may know different ones.
        scores: likewise, C scores each.
    """
    known = [dict(zip(*pair, strict=True)) for pair in zip(classnames, scores, strict=True)]
    rows: dict[str, tuple[int, int]] = {}  # the place of a class, and of the model that ranks it
    for i, of_model in enumerate(known):
        for place, name in enumerate(sorted(of_model, key=of_model.__getitem__, reverse=True)):
            rows.setdefault(name, (place, i))
    return [Row(name, tuple(k.get(name) for k in known)) for name in sorted(rows, key=rows.get)]
