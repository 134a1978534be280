"""What a run shows in TensorBoard beside the scalars of its log: docs/logging.md lists the tags."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.config.config_values import flatten
from evaluation.evaluator import GROUPS, MultiLabelLongTail
from evaluation.metrics.precision_recall import macro_curve, precision_recall_curve
from evaluation.metrics.threshold_metrics import probabilities
from evaluation.results.run_report import RunReport
from evaluation.tables.drawings import matrix_image, picture_card
from loading.images import PictureError, read_picture
from modeling.prompts.prompt_model import PromptModel
from trainers.base.logs.board import Board
from trainers.base.logs.learner_statistics import LearnerStatistics
from trainers.base.training_data import TrainingData

_TAGS_OF_CLASSES = 100  # more make TensorBoard's page slow: no tags for single classes then
_CURVES_OF_CLASSES = 20  # likewise for curves
_MATRIX_CLASSES = 1600  # more would have cells of less than a pixel
_EXAMPLES = 6
_TOP = 6  # classes beside a picture
_RUN_KEYS = ("TRAINER.NAME", "DATASET.NAME", "MODEL.BACKBONE.NAME", "SEED", "TEST.SCORE")
_TRAINING_KEYS = (
    *("TRAINER.LOSS.NAME", "TRAINER.SAMPLER", "DATALOADER.TRAIN_X.BATCH_SIZE"),
    *("OPTIM.NAME", "OPTIM.LR", "OPTIM.MAX_EPOCH", "TRAINER.TUNE.NAME", "TRAINER.TUNE.TOWER"),
)


class RunBoard(Board):
    """Describes a run and its evaluations in TensorBoard.

    Args:
        report: on the run; of its evaluator, only that of this project knows of single classes.
        method: name of the trainer's class, which is that of the method's keys.
        data: what it trains and is evaluated on.
        model: the method's model.
    """

    def __init__(
        self,
        report: RunReport,
        method: str,
        data: TrainingData,
        model: PromptModel,
    ) -> None:
        super().__init__()
        self.report, self.evaluator = report, report.evaluator
        self.method, self.data, self.model = method, data, model

    def open(self, folder: str | Path, epochs: int, steps_per_epoch: int) -> None:
        """Also write the config, and some of the pictures that are trained on; see `Board.open`."""
        super().open(folder, epochs, steps_per_epoch)
        self.text("run/config", self.report.config_text)
        if self.writer is not None and self.data.trains and self.data.texts is None:
            captions = self.data.captions
            for number, place in enumerate(_spread(len(self.data.dataset.train_x))):
                item = self.data.dataset.train_x[place]
                lines = [f"labels: {', '.join(self._present(self.data.targets[place]))}"]
                lines += [f"caption: {text}" for text in captions[place]] if captions else []
                self._card(f"examples_train/{number}", item.impath, lines, 0)

    def statistics(self) -> dict[str, float]:
        """Numbers on what is trained, after a step; see `LearnerStatistics`."""
        return LearnerStatistics(self.model.learner, self.model.scale).read()

    def evaluated(self, split: str, epoch: int) -> None:
        """Write metrics and the average precision of each class, in percent, of an evaluation.

        Args:
            split: that was evaluated.
            epoch: number of the epoch, from 0.
        """
        for name, value in self.report.metrics.items():
            self.add_scalar(f"{split}/{name}", value, epoch)
        rows = getattr(self.evaluator, "per_class", [])
        for row in rows if len(rows) <= _TAGS_OF_CLASSES else ():
            if row.get("AP") is not None:
                self.add_scalar(f"{split}_AP/{row['name'].replace(' ', '_')}", row["AP"], epoch)
        self.flush()

    @torch.no_grad()
    def finish(self, split: str, epochs: int, evaluation: bool) -> None:
        """Write what the final evaluation shows: curves, examples, similarities, hyperparameters.

        Without a training the files are opened for it, and closed.

        Args:
            split: that was evaluated.
            epochs: behind the weights; 0 if they were never trained.
            evaluation: whether they were loaded, not trained; see `result_files`.
        """
        epoch, alone = max(epochs - 1, 0), self.writer is None
        texts = self.model.autocast_text_features()  # of all ranks, which encode them together
        if alone:
            self.open(self.report.files(evaluation).tensorboard, 0, 0)
            self.evaluated(split, epoch)
        self._write_final(split, epoch, texts)
        self.close() if alone else self.flush()

    def _write_final(self, split: str, epoch: int, texts: Any) -> None:  # noqa: ANN401
        if self.writer is None:
            return
        final = {f"final/{name}": value for name, value in self.report.metrics.items()}
        for tag, value in final.items():
            self.add_scalar(tag, value, epoch)
        if isinstance(self.evaluator, MultiLabelLongTail):
            self._write_curves(epoch)
            self._write_examples(split, epoch)
        self._write_similarities(texts, epoch)
        self.hyperparameters(self._values(), final)

    def _write_curves(self, epoch: int) -> None:
        """Macro curves of all classes and of the groups; single ones where classes are few."""
        evaluator = self.evaluator
        pieces = evaluator.scored.columns(evaluator.threshold_space)
        pairs = (pair for piece in pieces for pair in zip(*(p.t() for p in piece), strict=True))
        curves = torch.stack([precision_recall_curve(*pair) for pair in pairs])  # [C, 6, L]
        rows = evaluator.per_class
        defined = torch.tensor([row["positives"] > 0 for row in rows])
        self.curve("pr/all", macro_curve(curves), epoch)
        for group in GROUPS:
            members = defined & torch.tensor([row["group"] == group for row in rows])
            if members.any():
                self.curve(f"pr/{group}", macro_curve(curves[members]), epoch)
        for row, curve in zip(rows, curves, strict=True):
            if row["positives"] and len(rows) <= _CURVES_OF_CLASSES:
                self.curve(f"pr_class/{row['name'].replace(' ', '_')}", curve, epoch)

    def _write_examples(self, split: str, epoch: int) -> None:
        """Pictures of the evaluated split with their labels and the classes of highest score."""
        items, space = getattr(self.data.dataset, split), self.evaluator.threshold_space
        for number, place in enumerate(_spread(len(items))):
            logits, targets = self.evaluator.scored.image(place)  # [C] each
            present = self._present(targets)
            scores = probabilities(logits[None], space == "softmax")[0]  # [C]
            values, classes = scores.topk(min(_TOP, len(scores)))
            lines = [f"labels: {', '.join(present)}", f"{space}:"]
            for value, column in zip(values.tolist(), classes.tolist(), strict=True):
                name = self.data.classnames[column]
                lines.append(f"{value:.3f} {name}{' (present)' if name in present else ''}")
            self._card(f"examples_{split}/{number}", items[place].impath, lines, epoch)

    def _write_similarities(self, features: Any, epoch: int) -> None:  # noqa: ANN401
        """Cosines of the classes' text features, of each set of contexts."""
        features = [features] if isinstance(features, Tensor) else list(features or ())
        names = self.data.classnames
        matrices = [f for f in features if f.dim() == 2 and len(f) == len(names)]  # [C, D] each
        for number, matrix in enumerate(matrices if len(names) <= _MATRIX_CLASSES else ()):
            unit = matrix.float() / matrix.float().norm(dim=-1, keepdim=True)
            tag = f"similarity/texts{f'_{number}' if len(matrices) > 1 else ''}"
            self.image(tag, matrix_image(unit @ unit.t(), names), epoch)

    def _card(self, tag: str, path: str, lines: Sequence[str], step: int) -> None:
        try:
            picture = read_picture(path)
        except PictureError:  # features may be cached of pictures that are gone
            return
        self.image(tag, picture_card(picture, lines), step, "JPEG")

    def _present(self, targets: Tensor) -> list[str]:
        """Names of the classes that targets [C] say are present."""
        return [
            self.data.classnames[column] for column in (targets == 1).nonzero().flatten().tolist()
        ]

    def _values(self) -> dict[str, str | float]:
        """The row of the run among others: config keys that tell runs apart."""
        keys = _RUN_KEYS + (_TRAINING_KEYS if self.model.learner is not None else ())
        own = f"TRAINER.{self.method.upper()}."
        values = {
            key: value
            for key, value in flatten(self.report.cfg)
            if (key in keys or key.startswith(own)) and value not in (None, "")
        }
        return {k: v if isinstance(v, (int, float)) else str(v) for k, v in values.items()}


def _spread(count: int) -> list[int]:
    """A few places of a list, evenly spaced from its first."""
    return [number * count // _EXAMPLES for number in range(min(_EXAMPLES, count))]
