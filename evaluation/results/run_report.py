"""What a run leaves behind of its evaluation: results.json and scores.npz."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from dassl.data.datasets import DatasetBase
from dassl.evaluation import EvaluatorBase
from torch import Tensor
from yacs.config import CfgNode

from common.items import impaths_of
from common.ranks import is_first
from evaluation.evaluator import MultiLabelLongTail
from evaluation.metrics.scored_images import ScoredImages
from evaluation.recipe_choice import recipe_choice
from evaluation.results.protocol import protocol
from evaluation.results.provenance import provenance, utc_date
from evaluation.results.reports import ResultFiles, result_files
from evaluation.results.result_writer import EvaluatedRun, write_results
from evaluation.results.saved_scores import save_scores

__all__ = ["RunReport"]

Scored = Iterable[tuple[Tensor, Tensor]]  # logits and targets of a batch, [B, C] each


class RunReport:
    """Watches an evaluator and writes its last figures, for trainers of ours and of others.

    Args:
        cfg: the run's config.
        evaluator: any of Dassl's. If it reports on head, medium and tail classes and the data set
            has such groups, it is told them.
        dataset: the data set.

    Attributes:
        metrics: of the last evaluation; empty before the first one.
    """

    def __init__(self, cfg: CfgNode, evaluator: EvaluatorBase, dataset: DatasetBase) -> None:
        self.cfg, self.evaluator, self.dataset = cfg, evaluator, dataset
        self.origin = provenance(dataset, cfg.USE_CUDA)  # now: the code may change as it runs
        self.metrics: Mapping[str, float] = {}
        if isinstance(evaluator, MultiLabelLongTail) and hasattr(dataset, "groups"):
            seen = getattr(dataset, "seen", None)
            evaluator.describe_classes(dataset.class_counts, dataset.groups, seen)
        evaluate = evaluator.evaluate

        def remembered() -> Mapping[str, float]:
            self.metrics = evaluate()
            return self.metrics

        evaluator.evaluate = remembered

    @cached_property
    def config_text(self) -> str:
        """The whole config, as YAML."""
        return self.cfg.dump()

    def files(self, evaluation: bool) -> ResultFiles:
        """Where results go; see `result_files`."""
        return result_files(Path(self.cfg.OUTPUT_DIR), evaluation)

    def write(
        self,
        split: str,
        epoch: int | None,
        selection: str,
        evaluation: bool,
        seconds: float | None = None,
        seconds_spent: Mapping[str, float] | None = None,
    ) -> None:
        """Write OUTPUT_DIR/results.json, unless nothing was evaluated, and before it scores.npz.

        The scores are those that the evaluator has ranked, so they cost no second pass.

        Args:
            split: that was evaluated, "test" or "val".
            epoch: that the evaluated weights were trained for; None if unknown.
            selection: how these weights were chosen; see `EvaluatedRun`.
            evaluation: whether they were loaded, not trained; see `result_files`.
            seconds: wall-clock time of the whole run; None if unknown.
            seconds_spent: of its parts.
        """
        if not (self.metrics and is_first()):
            return
        cfg = self.cfg
        if cfg.TEST.SAVE_SCORES == "test" and isinstance(self.evaluator, MultiLabelLongTail):
            self._save_ranked(split, evaluation)
        path = self.files(evaluation).results
        run = EvaluatedRun(
            cfg.TRAINER.NAME,
            cfg.DATASET.NAME,
            cfg.MODEL.BACKBONE.NAME,
            cfg.SEED,
            split,
            epoch,
            selection,
            seconds,
            seconds_spent,
        )
        more = {**self.origin, "date": utc_date(), "protocol": protocol(cfg, epoch)}
        if recipe := recipe_choice(cfg):
            more["recipe"] = recipe
        write_results(path, run, self.evaluator, self.metrics, self.config_text, more)
        print(f"Results written to {path}")

    def write_scores(
        self, split: str, evaluation: bool, scored: Scored, training: Scored | None
    ) -> None:
        """Write logits and targets [N, C] of the evaluated and of the training images.

        Those of the training images are what an ensemble may be fitted or scaled on.

        Args:
            split: that was evaluated, "test" or "val".
            evaluation: as of `write`.
            scored: its batches, in the order of the data set's list.
            training: likewise of the training images; None if their pictures are absent.
        """
        files = self.files(evaluation)
        self._save(files.scores, getattr(self.dataset, split), scored)
        if training is None:
            print("Training pictures are absent, so their scores are not saved.")
        else:
            self._save(files.training_scores, self.dataset.train_x, training)

    def _save_ranked(self, split: str, evaluation: bool) -> None:
        scored, items = self.evaluator.scored, getattr(self.dataset, split)
        if len(items) != len(scored):  # another project's trainer may test in its own way
            print(f"Scores are not saved: {len(scored)} were ranked of {len(items)} images.")
            return
        path = self.files(evaluation).scores
        save_scores(path, scored.logits, scored.targets, impaths_of(items))

    @staticmethod
    def _save(path: Path, items: Sequence, scored: Scored) -> None:
        kept = ScoredImages(scored)
        if is_first():
            save_scores(path, kept.logits, kept.targets, impaths_of(items))
