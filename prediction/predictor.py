"""Pictures to scores and labels, by one trained model or the average of several."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from evaluation.fitted.fitted_files import Fitted
from evaluation.fitted.saved_calibration import calibrated, load_calibration
from evaluation.fitted.saved_thresholds import load_thresholds
from evaluation.metrics.threshold_metrics import log_odds
from loading.decoding import BATCHES_AHEAD, CPU_BATCH, cores, map_batches, ordered_map
from loading.images import PictureError, read_picture
from loading.transforms import split_at_pixels
from prediction.trained_model import TrainedModel
from trainers.base.saving.checkpoints import first_difference

_GPU_BATCH = 64


@dataclass(frozen=True)
class Prediction:
    """What is predicted of a picture.

    Attributes:
        path: the picture.
        classnames: C names.
        log_odds: [C], fp64: log(p / (1 - p)) of the scores p, which keeps their order where p is
            too near to 1 to tell apart; None if the picture cannot be read.
        labels: the chosen classes, the highest score first.
        error: why it cannot be read; empty if it can.
    """

    path: str
    classnames: Sequence[str]
    log_odds: Tensor | None
    labels: list[str]
    error: str = ""

    @property
    def scores(self) -> dict[str, float]:
        """Each class's probability; empty if the picture cannot be read."""
        if self.log_odds is None:
            return {}
        return dict(zip(self.classnames, self.log_odds.sigmoid().tolist(), strict=True))


@dataclass(frozen=True)
class _SharedEncoder:
    """Models, by their numbers, that encode a picture alike: one of them does it for all."""

    members: list[int]
    to_pixels: Callable[[Any], Tensor]
    finish: Callable[[Tensor], Tensor]


class Predictor:
    """Scores pictures, and chooses labels by their scores.

    Several models are averaged: the score of a class is the mean of their probabilities.

    Args:
        models: one or more, of the same classes, on one device.
        threshold: a class is chosen above this score, in (0, 1). By default a single run's
            thresholds.json where it has one, else TEST.THRESHOLD; with `top` alone there is none.
        top: at most so many classes are chosen, those of the highest scores.
        batch_size: pictures a forward pass; by default 8 on a CPU and 64 on a GPU.
        raw: whether to leave aside the calibration.json of runs that have one. It changes scores,
            and no label that a thresholds.json chooses.

    Attributes:
        classnames: C names.
        notes: what scores and labels are, a line each.

    Raises:
        ValueError: no model, models that do not go together, or a value out of its range.
    """

    def __init__(
        self,
        models: Sequence[TrainedModel],
        threshold: float | None = None,
        top: int | None = None,
        batch_size: int | None = None,
        raw: bool = False,
    ) -> None:
        check_models(models)
        _check_range("threshold", threshold, above=0, below=1)
        _check_range("top", top, above=0)
        _check_range("batch_size", batch_size, above=0)
        self.models, self.top = list(models), top
        self.classnames, self.device = models[0].classnames, models[0].device
        on_cpu = self.device.type == "cpu"
        self.batch_size = batch_size or (CPU_BATCH if on_cpu else _GPU_BATCH)
        self._encoders = _shared_encoders(self.models)
        self._calibrations = [None if raw else _calibration_of(model) for model in self.models]
        self.notes = self._about_scores()
        self._least = self._least_log_odds(threshold)  # [C]

    def predict(self, paths: Sequence[str]) -> Iterator[Prediction]:
        """Predictions in the order of their pictures; one that cannot be read loses no other.

        Pictures are decoded by all cores ahead of their use.

        Args:
            paths: picture files; `list_pictures` finds those of folders.
        """
        for model in self.models:
            _ = model.text  # computed now, not by several threads at once
        ahead = BATCHES_AHEAD * self.batch_size
        read = ordered_map(self._read, paths, cores(), ahead)
        for scored in map_batches(self._score, _batches(read, self.batch_size), self.device):
            yield from scored

    def _read(self, path: str) -> tuple[str, list[Tensor], str]:
        """Path, pixels [3, H, W] for each encoder, and what is wrong with the picture."""
        try:
            picture = read_picture(path)
            return path, [encoder.to_pixels(picture) for encoder in self._encoders], ""
        except PictureError as error:
            return path, [], str(error).removeprefix(f"{path}: ")
        except Exception as error:  # whatever a picture makes of a resize, the others go on
            return path, [], str(error) or type(error).__name__

    def _score(self, batch: Sequence[tuple[str, list[Tensor], str]]) -> list[Prediction]:
        readable = [pixels for _, pixels, error in batch if not error]
        odds = iter(self._log_odds(readable) if readable else ())
        return [self._prediction(path, error or next(odds)) for path, _, error in batch]

    @torch.inference_mode()
    def _log_odds(self, pixels: Sequence[list[Tensor]]) -> Tensor:
        """Log-odds [B, C], fp64, of B pictures' pixels for each encoder."""
        found = []
        for place, encoder in enumerate(self._encoders):
            stacked = torch.stack([of_picture[place] for of_picture in pixels])  # [B, 3, H, W]
            if self.device.type == "cuda":
                stacked = stacked.pin_memory()
            images = encoder.finish(stacked.to(self.device, non_blocking=True))
            features = self.models[encoder.members[0]].features(images)
            for number in encoder.members:
                model = self.models[number]
                logits = model.logits_of(features)  # [B, C]
                odds = log_odds(logits, softmax=model.scored.score == "softmax")
                found.append(calibrated(odds, self._calibrations[number]))
        return average_log_odds(torch.stack(found)).cpu()

    def _prediction(self, path: str, found: Tensor | str) -> Prediction:
        if not isinstance(found, str) and found.isnan().any():
            found = "its scores are NaN; use TRAINER.<METHOD>.PREC fp32"
        if isinstance(found, str):
            return Prediction(path, self.classnames, None, [], found)
        ranked = found.argsort(descending=True, stable=True)
        chosen = ranked[found[ranked] > self._least[ranked]][: self.top].tolist()
        return Prediction(path, self.classnames, found, [self.classnames[c] for c in chosen])

    def _about_scores(self) -> list[str]:
        softmax = self.models[0].scored.score == "softmax"
        space = "softmax over the classes" if softmax else "sigmoid of each class"
        names = ", ".join(f"{model.name} (epoch {model.epoch})" for model in self.models)
        mean = "mean of " if len(self.models) > 1 else ""
        used = [fitted for fitted in self._calibrations if fitted is not None]
        notes = [f"Scores: {mean}{names}, {space}{', calibrated' if used else ''}."]
        return notes + [f"Calibration: {fitted.path}, {fitted.about()}." for fitted in used]

    def _least_log_odds(self, threshold: float | None) -> Tensor:
        """Log-odds [C] above which a class is chosen; adds a note on where they are from."""
        best = f"the {self.top} highest scores" if self.top else "scores"
        if threshold is None and self.top:
            self.notes.append(f"Labels: {best}.")
            return torch.full([len(self.classnames)], -math.inf, dtype=torch.float64)
        chosen = self._chosen_thresholds() if threshold is None else None
        if chosen is not None:
            self.notes.append(f"Labels: {best} above {chosen.path}: {chosen.about()}.")
            return calibrated(chosen.column("log_odds"), self._calibrations[0])
        source = ""
        if threshold is None:
            threshold, source = self.models[0].cfg.TEST.THRESHOLD, " (TEST.THRESHOLD)"
        self.notes.append(f"Labels: {best} above {threshold:g}{source}.")
        return torch.full([len(self.classnames)], threshold, dtype=torch.float64).logit()

    def _chosen_thresholds(self) -> Fitted | None:
        """Those in the run's folder; of several runs none, for they are not for the mean."""
        (model, *others) = self.models
        if others or model.folder is None:
            return None
        return load_thresholds(model.folder, model.scored)


def average_log_odds(log_odds: Tensor) -> Tensor:
    """Log-odds [B, C] of the mean probability of M models, from theirs [M, B, C]."""
    if len(log_odds) == 1:
        return log_odds[0]
    present = torch.nn.functional.logsigmoid(log_odds).logsumexp(dim=0)
    absent = torch.nn.functional.logsigmoid(-log_odds).logsumexp(dim=0)
    return present - absent


def check_models(models: Sequence[TrainedModel]) -> None:
    """Refuse models whose scores cannot be averaged.

    Raises:
        ValueError: there is none, or their classes, score spaces or thresholds differ; the message
            names the first difference.
    """
    if not models:
        raise ValueError("A Predictor needs at least one model, got none.")
    first = models[0]
    for other in models[1:]:
        difference = first_difference(first.classnames, other.classnames)
        if difference:
            difference = difference.replace("there", first.name).replace("here", other.name)
            raise ValueError(f"Averaged runs need the same classes in one order: {difference}.")
        for key in ("SCORE", "THRESHOLD"):
            values = [_comparable(model.cfg.TEST[key]) for model in (first, other)]
            if values[0] != values[1]:
                raise ValueError(
                    f"Averaged runs need one TEST.{key}: {first.name} has {values[0]}, "
                    f"{other.name} has {values[1]}. Set it for all: --opts TEST.{key} {values[0]}"
                )


def _comparable(value: object) -> object:
    return "sigmoid" if value == "logit" else value  # one probability


def _check_range(name: str, value: float | None, above: float, below: float = math.inf) -> None:
    if value is not None and not above < value < below:
        most = f" and below {below:g}" if below < math.inf else ""
        raise ValueError(f"{name} must be above {above:g}{most}, got {value:g}.")


def _calibration_of(model: TrainedModel) -> Fitted | None:
    return None if model.folder is None else load_calibration(model.folder, model.scored)


def _shared_encoders(models: Sequence[TrainedModel]) -> list[_SharedEncoder]:
    groups: dict[tuple, list[int]] = {}
    for number, model in enumerate(models):
        cfg, tuned = model.cfg, model.tunes_image_encoder
        key = (
            *(model.clip_digest, model.model.clip.precision.name, model.model.clip.uses_regions),
            *(str(cfg.INPUT), str(cfg.MODEL.DENSE), number if tuned else -1),
        )
        groups.setdefault(key, []).append(number)
    return [
        _SharedEncoder(members, *split_at_pixels(models[members[0]].transform))
        for members in groups.values()
    ]


def _batches(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while batch := list(islice(items, size)):
        yield batch
