"""results.json for trainers that were written for plain Dassl and know nothing of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dassl.engine import SimpleTrainer

from evaluation.evaluator import MultiLabelLongTail
from evaluation.reports import result_files, write_results

__all__ = ["PlainTrainerResults"]


class PlainTrainerResults:
    """Watches a trainer's evaluator, so that its last metrics can be written.

    Args:
        trainer: as built, before it trains or tests. If its evaluator reports on head, medium and
            tail classes and its data set has such groups, the evaluator is told them.
    """

    def __init__(self, trainer: SimpleTrainer) -> None:
        self._trainer = trainer
        self._metrics: Mapping[str, float] = {}
        evaluator, dataset = trainer.evaluator, trainer.dm.dataset
        if isinstance(evaluator, MultiLabelLongTail) and hasattr(dataset, "groups"):
            evaluator.describe_classes(dataset.class_counts, dataset.groups)
        evaluate = evaluator.evaluate

        def remembered() -> Mapping[str, float]:
            self._metrics = evaluate()
            return self._metrics

        evaluator.evaluate = remembered

    def write(self, epoch: int | None, seconds: float, evaluation: bool) -> None:
        """Write OUTPUT_DIR/results.json, unless nothing was evaluated.

        Args:
            epoch: that the evaluated weights were trained for; None if unknown.
            seconds: wall-clock time of the run.
            evaluation: whether the weights were loaded, not trained; see `result_files`.
        """
        if not self._metrics:
            return
        trainer, cfg = self._trainer, self._trainer.cfg
        path = result_files(Path(cfg.OUTPUT_DIR), evaluation).results
        write_results(
            path,
            trainer=cfg.TRAINER.NAME,
            dataset=cfg.DATASET.NAME,
            backbone=cfg.MODEL.BACKBONE.NAME,
            seed=cfg.SEED,
            split=cfg.TEST.SPLIT if trainer.val_loader is not None else "test",
            epoch=epoch,
            selection="unknown" if evaluation else cfg.TEST.FINAL_MODEL,
            evaluator=trainer.evaluator,
            metrics=self._metrics,
            config_text=cfg.dump(),
            seconds=None if trainer.start_epoch > 0 else seconds,
        )
        print(f"Results written to {path}")
