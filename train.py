"""Train and evaluate a method: CoOp's flags, then KEY VALUE overrides of the config."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

from compat.bootstrap import ensure_dassl

ensure_dassl()

import numpy as np
import torch
from dassl.data.datasets import DatasetBase
from dassl.engine import TRAINER_REGISTRY, TrainerBase, build_trainer
from dassl.utils import collect_env_info, set_random_seed
from yacs.config import CfgNode

from command_line import build_parser, check_flags
from common.devices import asks_for_mps
from common.files import write_text
from common.ranks import as_on_first, is_first, working_together, world_size
from common.run_lock import run_lock
from common.user_errors import MISTAKES, run_command
from configuration import build_cfg, default_cfg, used_files
from evaluation.results.run_report import RunReport
from loading.images import check_pictures
from trainers.base import PromptTrainer
from trainers.base.chosen_thresholds import use_chosen_thresholds
from trainers.base.logs.run_log import header, logging_to
from trainers.base.saving.conditions import check_conditions, conditions_of, write_conditions
from trainers.base.saving.run_config import refuse_other_experiment, resolve_seed


def main(
    argv: Sequence[str] | None = None, watch: Callable[[int, str, float], None] | None = None
) -> None:
    """Run one experiment.

    Args:
        argv: the command line; default: that of the process.
        watch: told the epochs done, the split and its metric after every evaluation between
            epochs of a method of ours.
    """
    parser = build_parser()
    args = parser.parse_intermixed_args(argv)
    check_flags(args)
    cfg = build_cfg(args)
    if not cfg.TRAINER.NAME:
        raise ValueError("No method given. Add: --trainer NAME (--help lists the names)")
    if not cfg.DATASET.NAME:
        raise ValueError(
            "No data set given. Add: --dataset-config-file configs/datasets/NAME.yaml, or "
            "DATASET.NAME NAME (--help lists the names)"
        )
    folder = Path(cfg.OUTPUT_DIR)
    with working_together(cfg.USE_CUDA), run_lock(folder) if is_first() else nullcontext():
        resolve_seed(cfg, Path(args.model_dir) if args.eval_only else folder)
        cfg.SEED = as_on_first(cfg.SEED)
        if not (args.eval_only or args.no_train):
            refuse_other_experiment(cfg, folder, default_cfg())
        cfg.freeze()
        set_random_seed(cfg.SEED)
        log_file = logging_to(cfg.OUTPUT_DIR, evaluation=args.eval_only)
        with log_file if is_first() else nullcontext() as log:
            started = time.perf_counter()
            try:
                trainer = _build(cfg, args)
            except MISTAKES:
                if log:
                    log.unlink()  # a try that never began; the next one's log is to be log.txt
                raise
            if watch and isinstance(trainer, PromptTrainer):
                _watch_evaluations(trainer, watch)
            _run(trainer, args, started)


def _build(cfg: CfgNode, args: argparse.Namespace) -> TrainerBase:
    """The trainer, with all that can be checked before its work begins."""
    if cfg.USE_CUDA and torch.cuda.is_available():
        torch.backends.cudnn.benchmark = True
    if asks_for_mps() and not issubclass(TRAINER_REGISTRY.get(cfg.TRAINER.NAME), PromptTrainer):
        raise ValueError(f"{cfg.TRAINER.NAME} cannot use LMPT_DEVICE=mps. Unset LMPT_DEVICE.")
    if world_size() > 1 and not issubclass(TRAINER_REGISTRY.get(cfg.TRAINER.NAME), PromptTrainer):
        raise ValueError(f"{cfg.TRAINER.NAME} runs on one process alone; run it without torchrun.")
    print(header(cfg, used_files(args), args.model_dir if args.eval_only else None))
    if args.verbose:
        print(f"** Config **\n{cfg}\n** System **\n{collect_env_info()}")
    trainer = build_trainer(cfg)
    check_evaluator(trainer)
    if args.eval_only:
        trainer.load_model(args.model_dir, epoch=args.load_epoch)
        if args.model_dir and isinstance(trainer, PromptTrainer):
            use_chosen_thresholds(trainer, args.model_dir)
    return trainer


def _run(trainer: TrainerBase, args: argparse.Namespace, started: float) -> None:
    cfg = trainer.cfg
    report = None
    if not isinstance(trainer, PromptTrainer):  # which has a report of its own
        report = RunReport(cfg, trainer.evaluator, trainer.dm.dataset)
    if args.check:
        _check_pictures(trainer.dm.dataset, cfg)
    if args.eval_only:
        if is_first():
            write_text(Path(cfg.OUTPUT_DIR, "config_eval.yaml"), cfg.dump())
        trainer.test()
    elif not args.no_train:
        _train(trainer)
    if report:
        _report_foreign(trainer, report, args, time.perf_counter() - started)


def _watch_evaluations(trainer: PromptTrainer, watch: Callable[[int, str, float], None]) -> None:
    test = trainer.test

    def watched(split: str | None = None) -> float:
        metric = test(split)
        if split is not None:  # the final evaluation names none
            watch(trainer.epoch + 1, split, metric)
        return metric

    trainer.test = watched


def _report_foreign(
    trainer: TrainerBase, report: RunReport, args: argparse.Namespace, seconds: float
) -> None:
    """Write results of a trainer that knows nothing of them, as far as they are known."""
    cfg = trainer.cfg
    selects = cfg.TEST.FINAL_MODEL != "last_step"
    report.write(
        split=cfg.TEST.SPLIT if trainer.val_loader is not None else "test",
        epoch=args.load_epoch if args.eval_only else None if selects else cfg.OPTIM.MAX_EPOCH,
        selection="unknown" if args.eval_only else cfg.TEST.FINAL_MODEL,
        evaluation=args.eval_only,
        seconds=None if trainer.start_epoch > 0 else seconds,
    )


def _train(trainer: TrainerBase) -> None:
    """Train, after leaving config and conditions in the folder for those who go on with the run."""
    cfg, folder = trainer.cfg, Path(trainer.cfg.OUTPUT_DIR)
    conditions = conditions_of(trainer)
    check_conditions(Path(cfg.RESUME or folder), conditions)
    if is_first():
        write_text(folder / "config.yaml", cfg.dump())
        write_conditions(folder, conditions)
    try:
        trainer.train()
    except KeyboardInterrupt:
        print(f"\nInterrupted. The same command goes on from the last epoch in {folder}.")
        sys.exit(130)


def check_evaluator(trainer: TrainerBase) -> None:
    """Refuse before the training, not after it, an evaluator for the other kind of labels.

    Raises:
        ValueError: one label for each image, but an evaluator for several, or the reverse.
    """
    dataset, name = trainer.cfg.DATASET.NAME, trainer.cfg.TEST.EVALUATOR
    single = np.ndim(trainer.dm.dataset.train_x[0].label) == 0
    if single and name == "MultiLabelLongTail":
        raise ValueError(f"{dataset} has one label per image; add: TEST.EVALUATOR Classification")
    if not single and name == "Classification":
        raise ValueError(f"{dataset} has label vectors; add: TEST.EVALUATOR MultiLabelLongTail")


def _check_pictures(dataset: DatasetBase, cfg: CfgNode) -> None:
    items = [*dataset.train_x, *(dataset.val or [])]
    items += dataset.test if cfg.DATASET.TEST_PICTURES else []
    problems = check_pictures([item.impath for item in items], max(cfg.DATALOADER.NUM_WORKERS, 1))
    if problems:
        shown = "\n".join(f"  {problem}" for problem in problems)
        print(f"{len(problems)} of {len(items)} pictures cannot be used:\n{shown}")
        sys.exit(1)
    print(f"All {len(items)} pictures can be decoded.")


if __name__ == "__main__":
    run_command(main)
