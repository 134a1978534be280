"""What was fitted to a model's scores and is kept in its run's folder, with where it comes from.

`thresholds.json` and `calibration.json` are such files: `{origin, rule, classes}`, a row a class.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.files import write_text
from common.readers.json_files import read_json

__all__ = ["Fitted", "Origin", "ScoredModel", "fitted_for", "misfit", "read_fitted", "write_fitted"]


@dataclass(frozen=True)
class ScoredModel:
    """What scores depend on, beside the picture.

    Attributes:
        trainer: registered name of the method.
        epoch: epochs of training behind the weights.
        weights: SHA-256 of what was trained, or of CLIP where nothing was.
        score: sigmoid or softmax.
        classnames: C names.
        pictures: how pictures are resized, and which views of them are looked at.
    """

    trainer: str
    epoch: int
    weights: str
    score: str
    classnames: list[str]
    pictures: str = ""


@dataclass(frozen=True)
class Origin:
    """Where fitted values come from.

    Attributes:
        trainer: as are epoch, weights and score, of the `ScoredModel`.
        epoch: see there.
        weights: see there.
        score: see there.
        split: train or val.
        images: their number.
        source: a file of saved scores, or "evaluation".
        date: day, in ISO's format.
        pictures: of the `ScoredModel`; empty in files that are older than this.
    """

    trainer: str
    epoch: int
    weights: str
    score: str
    split: str
    images: int
    source: str
    date: str
    pictures: str = ""

    @classmethod
    def of(cls, model: ScoredModel, split: str, images: int, source: str) -> Origin:
        """The origin of values that are fitted today."""
        about = (model.trainer, model.epoch, model.weights, model.score)
        today = datetime.date.today().isoformat()
        return cls(*about, split, images, source, today, model.pictures)


@dataclass(frozen=True)
class Fitted:
    """Values fitted to a model's scores.

    Attributes:
        path: the file.
        origin: where they come from.
        rule: how they were fitted, in plain values.
        classes: C rows; each has a name.
    """

    path: Path
    origin: Origin
    rule: dict[str, Any]
    classes: list[dict[str, Any]]

    @property
    def classnames(self) -> list[str]:
        """C names."""
        return [row["name"] for row in self.classes]

    def column(self, name: str) -> Tensor:
        """A value of each class: [C], fp64."""
        return torch.tensor([row[name] for row in self.classes], dtype=torch.float64)

    def about(self) -> str:
        """How and on what they were fitted, in a few words."""
        origin = self.origin
        each = "per class" if self.rule.get("per_class") else "one for all classes"
        return (
            f"{each}, {self.rule.get('criterion', 'unknown')} on {origin.split} "
            f"({origin.images:,} images, epoch {origin.epoch})"
        )


def write_fitted(fitted: Fitted) -> None:
    """Write the file, whole or not at all."""
    content = {
        "origin": asdict(fitted.origin),
        "rule": fitted.rule,
        "classes": fitted.classes,
    }
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(fitted.path, text + "\n")


def read_fitted(path: str | Path, columns: Sequence[str]) -> Fitted:
    """Read such a file.

    Args:
        path: the file.
        columns: values that each class must have, finite numbers.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is damaged; the message tells to make it anew.
    """
    path = Path(path)
    content = read_json(path)
    try:
        origin = Origin(**content["origin"])
        for field in fields(Origin):
            wanted = int if field.name in ("epoch", "images") else str
            if type(getattr(origin, field.name)) is not wanted:
                raise ValueError(f"origin.{field.name} is no {wanted.__name__}")
        rule, classes = dict(content["rule"]), [dict(row) for row in content["classes"]]
        for row in classes:
            if not isinstance(row["name"], str):
                raise ValueError("a class's name is no text")
            for column in columns:
                if type(row[column]) not in (int, float) or not math.isfinite(row[column]):
                    raise ValueError(f"{column} of {row['name']} is no finite number")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path} is damaged ({reason}). Make it anew, or delete it.") from error
    return Fitted(path, origin, rule, classes)


def misfit(fitted: Fitted, model: ScoredModel) -> str:
    """Why fitted values are not this model's; empty if they are."""
    there, here = fitted.origin, model
    if fitted.classnames != model.classnames:
        return "its classes are others"
    facts: Mapping[str, tuple[object, object]] = {
        "trainer": (there.trainer, here.trainer),
        "epoch": (there.epoch, here.epoch),
        "score": (there.score, here.score),
        "pictures": (there.pictures or here.pictures, here.pictures),
    }
    for name, (old, new) in facts.items():
        if old != new:
            return f"it is for {name} {old}, and this is {new}"
    return "" if there.weights == here.weights else "it is for other weights"


def fitted_for(path: str | Path, columns: Sequence[str], model: ScoredModel) -> Fitted | None:
    """Read values that were fitted to a model; None if there are none.

    Those of another model are not used, and a line of output says why.

    Args:
        path: the file, which need not exist.
        columns: as of `read_fitted`.
        model: whose scores they must fit.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        fitted = read_fitted(path, columns)
    except FileNotFoundError:
        return None
    reason = misfit(fitted, model)
    if reason:
        print(f"{path} is not used: {reason}.")
        return None
    return fitted
