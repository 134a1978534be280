"""A run's life: what it resumes from, which epoch it keeps, what it leaves behind."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import load_checkpoint
from torch import nn
from tqdm import tqdm
from yacs.config import CfgNode

from evaluation.reports import load_results, save_scores, write_results
from modeling import checkpoint_files
from modeling.choices import check_choice
from modeling.plateau import PlateauOnValidation
from trainers.base.epoch_loop import EpochLoop

_FEW_BATCHES = 20  # of an evaluation; fewer need no progress bar
FINAL_MODELS = {
    "last_step": "the last epoch",
    "best_val": "the epoch that is best on the validation images",
    "best_test": "the epoch that is best on the test images, which makes its figures optimistic",
}


def extend_cfg(cfg: CfgNode) -> None:
    """Declare the keys of the plateau schedule."""
    cfg.OPTIM.PATIENCE = 5  # epochs without a better metric; LR_SCHEDULER plateau alone
    cfg.OPTIM.MIN_LR = 1e-7  # where plateau stops; it multiplies by OPTIM.GAMMA


class LifeCycle(EpochLoop):
    """Dassl's life-cycle around one learner, made resumable after any epoch.

    A subclass sets `prompt_learner`, or None where it trains nothing, and calls `set_optimiser`.

    Attributes:
        learner_name: the checkpoints' folder, as in CoOp.
        weights_epoch: epochs of training behind the current weights.
    """

    learner_name = "prompt_learner"

    def __init__(self, cfg: CfgNode) -> None:
        self._born = time.time()
        self.weights_epoch = 0
        self._resume_point: Path | None = None
        super().__init__(cfg)

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse splits, selections and schedules that do not exist."""
        check_choice("TEST.SPLIT", cfg.TEST.SPLIT, ("test", "val"))
        check_choice("TEST.FINAL_MODEL", cfg.TEST.FINAL_MODEL, FINAL_MODELS)
        if cfg.OPTIM.LR_SCHEDULER == "plateau" and cfg.OPTIM.WARMUP_EPOCH > 0:
            raise ValueError("OPTIM.LR_SCHEDULER plateau has no warm-up; set OPTIM.WARMUP_EPOCH 0.")

    def check_validation(self, has_images: bool) -> None:
        """Refuse to watch a validation split that is not there.

        Stock Dassl takes the test images instead, in silence.
        """
        options = self.cfg
        plateau = options.OPTIM.LR_SCHEDULER == "plateau"
        watched = self._watched_split() == "val" and (self.selects or plateau)
        if (watched or options.TEST.SPLIT == "val") and not has_images:
            raise ValueError(
                "TEST.FINAL_MODEL best_val, OPTIM.LR_SCHEDULER plateau and TEST.SPLIT val need "
                f"validation images and {options.DATASET.NAME} has none. Hold some out: "
                "DATASET.VAL_FRACTION 0.1"
            )

    def set_optimiser(self, learner: nn.Module, groups: list[dict[str, Any]] | None = None) -> None:
        """Optimiser and schedule of `OPTIM`, registered with the learner.

        Args:
            learner: what is trained.
            groups: its parameters in groups with rates of their own.
        """
        options = self.cfg.OPTIM
        self.optim = build_optimizer(learner, options, groups)
        if options.LR_SCHEDULER == "plateau":
            self.sched = PlateauOnValidation(
                self.optim, "max", options.GAMMA, options.PATIENCE, min_lr=options.MIN_LR
            )
        else:
            self.sched = build_lr_scheduler(self.optim, options)
        self.register_model(self.learner_name, learner, self.optim, self.sched)

    def train(self) -> None:
        """Dassl's training; a method without a learner goes straight to its test."""
        if self.prompt_learner is None:
            print(f"{self.cfg.TRAINER.NAME} trains nothing.")
            self.test()
        else:
            super().train()

    def before_train(self) -> None:
        """Resume if there is something to resume."""
        super().before_train()
        self.weights_epoch = self.start_epoch
        best = Path(self.output_dir, self.learner_name, checkpoint_files.BEST)
        if self.start_epoch > 0 and best.is_file():  # stock Dassl forgets it
            self.best_result = load_checkpoint(str(best))["val_result"]

    def after_epoch(self) -> None:
        """Watch the metric that selects or schedules, and keep checkpoints as Dassl does.

        Beside those, one of every other epoch is there to resume from; only the newest is kept.
        """
        self.weights_epoch = done = self.epoch + 1
        metric = self._watched_metric()
        if self.selects and metric > self.best_result:
            self.best_result = metric
            self.save_model(
                self.epoch, self.output_dir, val_result=metric, model_name=checkpoint_files.BEST
            )
        every = self.cfg.TRAIN.CHECKPOINT_FREQ
        previous, self._resume_point = self._resume_point, None
        if done == self.max_epoch or (every > 0 and done % every == 0):
            self.save_model(self.epoch, self.output_dir)
        else:
            with contextlib.redirect_stdout(io.StringIO()):  # a line each epoch would drown the log
                self.save_model(self.epoch, self.output_dir)
            self._resume_point = checkpoint_files.epochs(Path(self.output_dir, self.learner_name))[
                done
            ]
        if previous is not None:
            previous.unlink(missing_ok=True)

    @property
    def selects(self) -> bool:
        """Whether the best epoch is evaluated in the end, not the last one."""
        return self.cfg.TEST.FINAL_MODEL in ("best_val", "best_test")

    def _watched_split(self) -> str:
        return "test" if self.cfg.TEST.FINAL_MODEL == "best_test" else "val"

    def _watched_metric(self) -> float | None:
        """This epoch's mAP on the split that selects epochs or lowers the learning rate."""
        plateau = isinstance(self.sched, PlateauOnValidation)
        if self.cfg.TEST.NO_TEST or not (self.selects or plateau):
            return None
        metric = self.test(self._watched_split())
        if plateau:
            self.sched.observe(metric)
        return metric

    def after_train(self) -> None:
        """Evaluate the last epoch's weights, or those of the best one."""
        print("Finish training")
        if not self.cfg.TEST.NO_TEST:
            if self.selects:
                print(f"Deploy {FINAL_MODELS[self.cfg.TEST.FINAL_MODEL]}")
                self.load_model(self.output_dir)
            else:
                print("Deploy the last-epoch model")
            self.test()
        print(f"Elapsed: {timedelta(seconds=round(time.time() - self.time_start))}")
        self.close_writer()

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load trained contexts for evaluation.

        Args:
            directory: output directory of a training run.
            epoch: which checkpoint; None takes model-best, or else the newest.

        Raises:
            FileNotFoundError: there is no such checkpoint; the message lists those that are.
            ValueError: it belongs to another method, other options or other classes.
        """
        if self.prompt_learner is None:
            print(f"{self.cfg.TRAINER.NAME} trains nothing, so nothing is loaded.")
            return
        if not directory:
            print("No --model-dir given: evaluating untrained contexts.")
            return
        path = checkpoint_files.find(Path(directory, self.learner_name), epoch)
        checkpoint = load_checkpoint(str(path))
        # CoOp stores the class names' embeddings too; ours come from the class names at hand.
        contexts = {
            name: value
            for name, value in checkpoint["state_dict"].items()
            if name not in ("token_prefix", "token_suffix")
        }
        checkpoint_files.check_fits(path, contexts, self.prompt_learner.state_dict())
        self.prompt_learner.load_state_dict(contexts)
        self.weights_epoch = int(checkpoint["epoch"])
        print(f"Loaded contexts of epoch {self.weights_epoch} from {path}")
        self._note_other_classes(Path(directory, "results.json"))

    def _note_other_classes(self, results: Path) -> None:
        """Say so if a run was trained on other classes; what all classes share still fits."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            (run,) = load_results(results)
            trained = [row["name"] for row in run["per_class"]]
            if trained and trained != list(self.classnames):
                print(
                    f"Note: that run's classes are {', '.join(trained[:3])}, ...; those here are "
                    f"{', '.join(self.classnames[:3])}, .... Class-specific contexts and "
                    "classifiers belong to their own."
                )

    @torch.no_grad()
    def test(self, split: str | None = None) -> float:
        """Evaluate; the final evaluation (`split` None) also writes results.json.

        Returns:
            The evaluator's first metric, such as mAP, in percent.
        """
        self.set_model_mode("eval")
        self.evaluator.reset()
        name = split or self.cfg.TEST.SPLIT
        print(f"Evaluate on the *{name}* set")
        loader = getattr(self, f"{name}_loader")
        for batch in tqdm(loader, disable=len(loader) < _FEW_BATCHES):
            views, targets = self.parse_batch_test(batch)
            self.evaluator.process(self.model_inference(views), targets)
        metrics = self.evaluator.evaluate()
        for metric, value in metrics.items():
            self.write_scalar(f"{name}/{metric}", value, self.epoch)
        if split is None:
            self._write_results(name, metrics)
        return next(iter(metrics.values()))

    def _write_results(self, split: str, metrics: Mapping[str, float]) -> None:
        cfg = self.cfg
        folder = Path(self.output_dir)
        resumed = getattr(self, "start_epoch", 0) > 0
        write_results(
            folder / "results.json",
            trainer=cfg.TRAINER.NAME,
            dataset=cfg.DATASET.NAME,
            backbone=cfg.MODEL.BACKBONE.NAME,
            seed=cfg.SEED,
            split=split,
            epoch=self.weights_epoch,
            selection=cfg.TEST.FINAL_MODEL,
            evaluator=self.evaluator,
            metrics=metrics,
            config_text=cfg.dump(),
            seconds=None if resumed else time.time() - self._born,
            spent=self.seconds_spent(),
        )
        if cfg.TEST.SAVE_SCORES:
            # Those of the training images are what an ensemble may be fitted or scaled on.
            items, loader = getattr(self.dm.dataset, split), getattr(self, f"{split}_loader")
            self._save_scores(folder / "scores.npz", items, loader)
            training = self.dm.dataset.train_x
            self._save_scores(folder / "scores_train.npz", training, self.plain_train_loader)
        print(f"Results written to {folder / 'results.json'}")

    def _save_scores(self, path: Path, items: Sequence[Any], loader: Iterable[Any]) -> None:
        """Logits and targets [N, C] of the images that a loader gives in the order of `items`."""
        logits, targets = [], []
        for batch in loader:
            views, found = self.parse_batch_train(batch)
            logits.append(self.model_inference(views))
            targets.append(found)
        save_scores(path, torch.cat(logits), torch.cat(targets), [item.impath for item in items])
