"""A run's life: what it resumes from, which epoch it keeps, what it leaves behind."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import load_checkpoint, save_checkpoint
from torch import nn
from tqdm import tqdm
from yacs.config import CfgNode

import compat.dassl_rules  # noqa: F401 - the rules of the keys that Dassl declares
from common.config_rules import Choice, Number, check_values, declare_rules
from common.rng_state import get_rng_state, set_rng_state
from compat.checkpoint_writer import point_to
from evaluation.reports import result_files, save_scores, write_results
from loading.cache.feature_key import weights_digest
from trainers.base.checkpoints import BEST, Checkpoints, check_origin, check_tensors, learnt
from trainers.base.epoch_loop import EpochLoop
from trainers.base.plateau import PlateauOnValidation

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


declare_rules(
    "OPTIM",
    {
        "LR_SCHEDULER": Choice(("single_step", "multi_step", "cosine", "plateau")),
        "PATIENCE": Number(least=0),
        "MIN_LR": Number(least=0),
    },
)
declare_rules("TEST", {"SPLIT": Choice(("test", "val")), "FINAL_MODEL": Choice(FINAL_MODELS)})


class LifeCycle(EpochLoop):
    """Dassl's life-cycle around one learner, made resumable after any epoch.

    A subclass sets `prompt_learner`, or None where it trains nothing, and calls `set_optimiser`.

    Attributes:
        learner_name: the checkpoints' folder, as in CoOp.
        weights_epoch: epochs of training behind the current weights.
    """

    learner_name = "prompt_learner"
    # Whether what is learnt has a part for each class, which no other class can use.
    class_specific = False

    def __init__(self, cfg: CfgNode) -> None:
        self._born = time.time()
        self._earlier: Mapping[str, Any] = {}  # what a resumed run's checkpoint says of itself
        self._training = False
        self.weights_epoch = 0
        self.selection = cfg.TEST.FINAL_MODEL
        super().__init__(cfg)

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse values that break the rule of their key, and those that do not go together."""
        check_values(cfg, methods=[type(self).__name__.upper()])
        if cfg.OPTIM.LR_SCHEDULER == "plateau" and cfg.OPTIM.WARMUP_EPOCH > 0:
            raise ValueError("OPTIM.LR_SCHEDULER plateau has no warm-up; set OPTIM.WARMUP_EPOCH 0.")
        if cfg.OPTIM.NAME == "sgd" and cfg.OPTIM.SGD_NESTEROV:
            if cfg.OPTIM.MOMENTUM == 0 or cfg.OPTIM.SGD_DAMPNING != 0:
                raise ValueError(
                    "OPTIM.SGD_NESTEROV needs OPTIM.MOMENTUM above 0 and OPTIM.SGD_DAMPNING 0, got "
                    f"{cfg.OPTIM.MOMENTUM} and {cfg.OPTIM.SGD_DAMPNING}."
                )

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
        self._training = True
        if self.prompt_learner is None:
            print(f"{self.cfg.TRAINER.NAME} trains nothing.")
            self.test()
        else:
            super().train()

    def before_train(self) -> None:
        """Resume if there is something to resume, and finish what a kill has interrupted."""
        _ = self.clip_digest  # of the weights as loaded, which a method may train
        super().before_train()
        self.weights_epoch = done = self.start_epoch
        if done == 0:
            return
        best = Checkpoints(self.cfg.RESUME or self.output_dir, self.learner_name).best()
        if best is not None:  # stock Dassl forgets it
            self.best_result = best["val_result"]
        self.epoch = done - 1
        if done not in self.checkpoints.epochs():  # stopped between the best one and this one
            self._keep_epoch()
        point_to(self.checkpoints.find(done))  # stopped between writing a checkpoint and its name
        self._drop_superseded()

    @property
    def checkpoints(self) -> Checkpoints:
        """Those of this run."""
        return Checkpoints(self.output_dir, self.learner_name)

    def resume_model_if_exist(self, directory: str) -> int:
        """Dassl's resumption, from the checkpoint with most epochs done.

        Returns:
            The number of epochs done; 0 if there are no checkpoints.

        Raises:
            ValueError: the checkpoint belongs to another trainer, CLIP, options or classes.
        """
        newest = Checkpoints(directory, self.learner_name).newest()
        if newest is None:
            print("No checkpoint found, train from scratch")
            return 0
        path, checkpoint = newest
        print(f"Found checkpoint at {directory} (will resume training)")
        self._take(path, checkpoint)
        self.optim.load_state_dict(checkpoint["optimizer"])
        self.sched.load_state_dict(checkpoint["scheduler"])
        if "rng_state" in checkpoint:  # absent from files that stock Dassl wrote
            set_rng_state(checkpoint["rng_state"])
        self._earlier = checkpoint.get("run", {})
        print(f"Going on after epoch {checkpoint['epoch']} of {path}")
        return checkpoint["epoch"]

    def after_epoch(self) -> None:
        """Watch the metric that selects or schedules, and keep checkpoints as Dassl does.

        Beside those, one of every other epoch is there to resume from; only the newest is kept.
        """
        self.weights_epoch = self.epoch + 1
        metric = self._watched_metric()
        if self.selects and metric > self.best_result:
            self.best_result = metric
            self.save_model(self.epoch, self.output_dir, val_result=metric, model_name=BEST)
        self._keep_epoch()
        self._drop_superseded()

    def _keep_epoch(self) -> None:
        """Save this epoch's numbered checkpoint."""
        if self._is_due(self.epoch + 1):
            self.save_model(self.epoch, self.output_dir)
        else:
            with contextlib.redirect_stdout(io.StringIO()):  # a line each epoch would drown the log
                self.save_model(self.epoch, self.output_dir)

    def _is_due(self, done: int) -> bool:
        """Whether a checkpoint stays; others are for resuming alone."""
        every = self.cfg.TRAIN.CHECKPOINT_FREQ
        return done == self.max_epoch or (every > 0 and done % every == 0)

    def _drop_superseded(self) -> None:
        for path in list(self.checkpoints.superseded(self.epoch + 1)):
            path.unlink(missing_ok=True)

    def save_model(
        self,
        epoch: int,
        directory: str,
        is_best: bool = False,
        val_result: float | None = None,
        model_name: str = "",
    ) -> None:
        """Write Dassl's checkpoint, the random generators' states and where it all comes from.

        Args:
            epoch: current epoch, from 0; the file says how many are done.
            directory: gets `<registered name>/<file>`.
            is_best: also copy it to `model-best.pth.tar`.
            val_result: kept in the file.
            model_name: file name; `model.pth.tar-<epochs done>` by default.

        Raises:
            FloatingPointError: a weight is infinite or NaN; nothing is written.
            OSError: the disk is full, or the folder cannot be written to.
        """
        resume_only = not model_name and not self._is_due(epoch + 1)
        state = {
            "state_dict": self.prompt_learner.state_dict(),
            "epoch": epoch + 1,
            "optimizer": self.optim.state_dict(),
            "scheduler": self.sched.state_dict(),
            "val_result": None if val_result is None else float(val_result),
            "rng_state": get_rng_state(),
            "run": {**self._origin(), **self._spent(), "resume_only": resume_only},
        }
        folder = str(Path(directory, self.learner_name))
        save_checkpoint(state, folder, is_best=is_best, model_name=model_name)

    def _origin(self) -> dict[str, Any]:
        """What a checkpoint says of its run, in plain values."""
        return {
            "trainer": self.cfg.TRAINER.NAME,
            "backbone": self.cfg.MODEL.BACKBONE.NAME,
            "clip": self.clip_digest,
            "classnames": list(self.classnames),
            "class_specific": self.class_specific or bool(self.method_cfg.get("CSC", False)),
            "options": _plain(self.method_cfg),
            "selection": self.cfg.TEST.FINAL_MODEL,
            "max_epoch": self.max_epoch,
        }

    @cached_property
    def clip_digest(self) -> str:
        """SHA-256 of CLIP's weights as they were loaded."""
        return weights_digest(self.clip)

    def _spent(self) -> dict[str, Any]:
        """Seconds of the whole run so far and of its parts, earlier processes counted in."""
        earlier = self._earlier.get("seconds_spent", {})
        parts = {name: s + earlier.get(name, 0.0) for name, s in self.seconds_spent().items()}
        seconds = time.time() - self._born + self._earlier.get("seconds", 0.0)
        return {"seconds": seconds, "seconds_spent": parts}

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
        path = Checkpoints(directory, self.learner_name).find(epoch)
        checkpoint = load_checkpoint(str(path))
        self._take(path, checkpoint)
        self.weights_epoch = int(checkpoint["epoch"])
        self.selection = _how_chosen(path, checkpoint)
        print(f"Loaded contexts of epoch {self.weights_epoch} from {path}")

    def _take(self, path: Path, checkpoint: Mapping[str, Any]) -> None:
        """Put a checkpoint's tensors into the learner if they belong there."""
        run = checkpoint.get("run")
        if run is None:
            print(
                f"{path} does not say which trainer, CLIP, class names and selection it comes "
                "from; the names and shapes of its tensors are all that is checked."
            )
        else:
            for note in check_origin(path, run, self._origin()):
                print(note)
        tensors = learnt(path, checkpoint)
        check_tensors(path, tensors, self.prompt_learner.state_dict())
        self.prompt_learner.load_state_dict(tensors)

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
        cfg, spent = self.cfg, self._spent()
        files = result_files(Path(self.output_dir), evaluation=not self._training)
        write_results(
            files.results,
            trainer=cfg.TRAINER.NAME,
            dataset=cfg.DATASET.NAME,
            backbone=cfg.MODEL.BACKBONE.NAME,
            seed=cfg.SEED,
            split=split,
            epoch=self.weights_epoch,
            selection=self.selection,
            evaluator=self.evaluator,
            metrics=metrics,
            config_text=cfg.dump(),
            seconds=spent["seconds"],
            spent=spent["seconds_spent"],
        )
        if cfg.TEST.SAVE_SCORES:
            # Those of the training images are what an ensemble may be fitted or scaled on.
            items, loader = getattr(self.dm.dataset, split), getattr(self, f"{split}_loader")
            self._save_scores(files.scores, items, loader)
            training = self.dm.dataset.train_x
            self._save_scores(files.training_scores, training, self.plain_train_loader)
        print(f"Results written to {files.results}")

    def _save_scores(self, path: Path, items: Sequence[Any], loader: Iterable[Any]) -> None:
        """Logits and targets [N, C] of the images that a loader gives in the order of `items`."""
        logits, targets = [], []
        for batch in loader:
            views, found = self.parse_batch_train(batch)
            logits.append(self.model_inference(views))
            targets.append(found)
        save_scores(path, torch.cat(logits), torch.cat(targets), [item.impath for item in items])


def _how_chosen(path: Path, checkpoint: Mapping[str, Any]) -> str:
    """The rule by which a checkpoint's epoch was chosen, for the results."""
    run = checkpoint.get("run")
    if run is None:
        return "unknown"
    if path.name == BEST:
        return run["selection"]
    done = checkpoint["epoch"]
    return "last_step" if done == run["max_epoch"] else f"epoch_{done}"


def _plain(value: object) -> object:
    """A config value as a checkpoint keeps it: nodes as dicts, tuples as lists."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value
