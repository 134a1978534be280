"""The trainer of every prompt method: Dassl's hooks around the objects that do the work."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from dassl.engine import TrainerX
from dassl.optim import build_lr_scheduler, build_optimizer
from torch import Tensor, nn
from tqdm import tqdm
from yacs.config import CfgNode

from common.threads import step_threads, threads
from compat.checkpoint_writer import point_to
from evaluation.run_report import RunReport
from loading.cache.feature_cache import CachedLoader
from loading.cache.feature_key import weights_digest
from loading.text_loader import TextLoader
from losses.config import loss_from_config
from modeling.encoders.features import Features
from modeling.prompts.prompt_model import PromptModel
from trainers.base.checkpoints import BEST, Checkpoints
from trainers.base.epoch_log import EpochLog
from trainers.base.epoch_selection import FINAL_MODELS, PLATEAU, EpochSelection
from trainers.base.initial_weights import load_initial_weights
from trainers.base.options import check_shared_options, model_options, own_options
from trainers.base.plateau import PlateauOnValidation
from trainers.base.run_record import RunClock, origin_of
from trainers.base.run_state import RunState
from trainers.base.step import TrainingStep
from trainers.base.towers import load_towers
from trainers.base.training_data import TrainingData

_BATCHES_OF_MEAN = 8  # training batches that COSINE_OFFSET is measured on
_FEW_BATCHES = 20  # of an evaluation; fewer need no progress bar
_PER_SAMPLE = ("index", "sample_seed")


class PromptTrainer(TrainerX):
    """A Dassl trainer around a frozen CLIP and a `PromptModel`.

    A method's trainer names its model, and says what the model needs beside its options. Its keys
    are those of `TRAINER.<CLASS NAME IN CAPITALS>`.

    Attributes:
        model_class: the method's maths.
        learner_name: the checkpoints' folder, as in CoOp.
        class_specific: whether what is learnt has a part for each class, which no other can use.
        tunes_image_encoder: whether the image tower learns: images are encoded in every step.
        data: lists, targets, captions and loaders.
        clip: the frozen towers.
        model: the method's model; `model.learner` is what is trained and saved.
        weights_epoch: epochs of training behind the current weights.
    """

    model_class: type[PromptModel] = PromptModel
    learner_name = "prompt_learner"
    class_specific = False
    tunes_image_encoder = False

    def __init__(self, cfg: CfgNode) -> None:
        self._clock = RunClock()
        self._training = False
        self._text_once: Any = None
        self.method_cfg = own_options(cfg, type(self).__name__)
        self.seed = max(cfg.SEED, 0)
        self.weights_epoch = 0
        self.epoch_selection = EpochSelection(cfg.TEST.FINAL_MODEL, cfg.OPTIM.LR_SCHEDULER)
        self.selection = cfg.TEST.FINAL_MODEL  # how the weights at hand were chosen
        super().__init__(cfg)
        self.report = RunReport(cfg, self.evaluator, self.data.dataset)

    def model_arguments(self) -> dict[str, Any]:
        """What the model needs to train, by the names of its arguments; evaluations do without."""
        return {}

    def param_groups(self, learner: nn.Module) -> list[dict[str, Any]] | None:
        """Groups for the optimiser, with rates of their own; None: all at OPTIM.LR."""
        return None

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse values that would fail late or be ignored."""
        check_shared_options(cfg, type(self).__name__, self.tunes_image_encoder)

    def build_data_loader(self) -> None:
        """Read and check the lists; loaders follow in `build_model`."""
        self.data = data = TrainingData(self.cfg, self.seed)
        self.dm = data.manager
        self.num_classes, self.lab2cname = self.dm.num_classes, self.dm.lab2cname
        self.num_source_domains, self.classnames = self.dm.num_source_domains, data.classnames
        self.epoch_selection.check_splits(
            bool(data.dataset.val), self.cfg.TEST.SPLIT, self.cfg.DATASET.NAME
        )

    def build_model(self) -> None:
        """Frozen towers, the loaders that encode with them, the model and its optimiser."""
        cfg, data = self.cfg, self.data
        name, precision = cfg.MODEL.BACKBONE.NAME, self.method_cfg.PREC
        print(f"Loading CLIP (backbone: {name}, precision: {precision})")
        self.clip = clip = load_towers(cfg, self.model_class, self.method_cfg, self.device)
        data.build_loaders(clip, self.tunes_image_encoder)
        self.train_loader_x, self.train_loader_u = data.train_loader, None
        self.val_loader, self.test_loader = data.val_loader, data.test_loader
        counts = data.class_counts.to(self.device)  # [C]
        self.model = self.model_class(
            data.classnames,
            clip,
            criterion=loss_from_config(cfg.TRAINER.LOSS, counts, len(data.targets)),
            seed=self.seed,
            **(self.model_arguments() if data.trains else {}),
            **model_options(self.model_class, self.method_cfg),
        )
        if self.model.learner is not None:
            self._build_training(self.model.learner)

    def _build_training(self, learner: nn.Module) -> None:
        """Initial weights, optimiser, schedule and step of what is trained."""
        cfg, options = self.cfg, self.cfg.OPTIM
        if cfg.MODEL.INIT_WEIGHTS:
            load_initial_weights(learner, cfg.MODEL.INIT_WEIGHTS)
        self.optim = build_optimizer(learner, options, self.param_groups(learner))
        if options.LR_SCHEDULER == PLATEAU:
            self.sched = PlateauOnValidation(
                self.optim, "max", options.GAMMA, options.PATIENCE, min_lr=options.MIN_LR
            )
        else:
            self.sched = build_lr_scheduler(self.optim, options)
        self.register_model(self.learner_name, learner, self.optim, self.sched)
        on_gpu = self.device.type == "cuda"
        self.run_state = RunState(
            self.learner_name,
            learner,
            self.optim,
            self.sched,
            self._clock,
            origin=self._origin,
            caching=lambda: self.data.seconds,
        )
        self.step = TrainingStep(
            self.model.terms,
            [p for p in learner.parameters() if p.requires_grad],
            self.clip.precision.scaler,
            capture=on_gpu and cfg.TRAIN.CUDA_GRAPH and not self.tunes_image_encoder,
        )

    def parse_batch_train(self, batch: dict[str, Any]) -> tuple[Features, Tensor]:
        """Features and targets [B, C] of a batch, on the device."""
        features = self.data.features(batch, grad=self.tunes_image_encoder)
        return features, self.data.batch_targets(batch)

    def parse_batch_test(self, batch: dict[str, Any]) -> tuple[Features, Tensor]:
        """Features and labels as the evaluator wants them: [B, C], or class indices [B]."""
        return self.data.features(batch), batch["label"].to(self.device, non_blocking=True)

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """One step on one batch; returns its loss terms, on the device."""
        places = [batch[name].to(self.device, non_blocking=True) for name in _PER_SAMPLE]
        terms = self.step(*self.parse_batch_train(batch), *places)
        self.model_update()
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return terms

    def model_update(self, names: list[str] | None = None) -> None:
        """Dassl's optimiser step, through the gradient scaler."""
        scaler = self.clip.precision.scaler
        if not scaler.is_enabled():
            super().model_update(names)
            return
        for name in self.get_model_names(names):
            scaler.step(self._optims[name])
        scaler.update()

    def model_inference(self, features: Features) -> Tensor:
        """Logits [B, C]; text features are computed once for each evaluation."""
        if self._text_once is None:
            self._text_once = self.model.autocast_text_features()
        return self.model.logits(features, self._text_once)

    def set_model_mode(self, mode: str = "train", names: list[str] | None = None) -> None:
        """Dassl's switch; the contexts may have changed since the last evaluation."""
        self._text_once = None
        super().set_model_mode(mode, names)

    def on_worthwhile_threads(self) -> contextlib.AbstractContextManager:
        """As many CPU threads as the model is worth."""
        return threads(step_threads(self.clip.clip_model, self.device))

    def train(self) -> None:
        """Train; methods without parameters are only evaluated."""
        self._training = True
        if self.model.learner is None:
            print(f"{self.cfg.TRAINER.NAME} trains nothing.")
            self.test()
        else:
            super().train()

    def before_train(self) -> None:
        """Set the offset, resume from a checkpoint, and finish what a kill interrupted."""
        self.set_offset()
        _ = self.clip_digest  # of the weights as loaded, which a method may train
        super().before_train()
        self.weights_epoch = done = self.start_epoch
        if done > 0:
            best = Checkpoints(self.cfg.RESUME or self.output_dir, self.learner_name).best()
            if best is not None:  # stock Dassl forgets it
                self.epoch_selection.best = best["val_result"]
            self.epoch = done - 1
            if done not in self.checkpoints.epochs():  # stopped between the best one and this one
                self._keep_epoch()
            point_to(self.checkpoints.find(done))  # stopped between writing it and naming it
            self.checkpoints.keep_newest(done)
        if isinstance(self.train_loader_x, (CachedLoader, TextLoader)):
            _ = self.train_loader_x.cache  # made now, with all threads

    def set_offset(self) -> None:
        """Start COSINE_OFFSET at the mean cosine; a resumed run brings its own."""
        if self.model.scale.has_offset:
            self.model.scale.set_offset(self.mean_cosine())

    @torch.no_grad()
    def mean_cosine(self) -> Tensor:
        """Mean over the first training batches and all classes: a scalar."""
        text = self.model.text_features()
        batches = islice(self.train_loader_x, _BATCHES_OF_MEAN)
        cosines = [self.model.cosines(self.data.features(batch), text) for batch in batches]
        return torch.cat(cosines).mean()

    def before_epoch(self) -> None:
        """Draw this epoch's order and views."""
        self.data.start_epoch(self.epoch)

    def run_epoch(self) -> None:
        """One pass over the training batches.

        Raises:
            FloatingPointError: the loss has become infinite or NaN.
        """
        self.set_model_mode("train")
        self.num_batches = len(self.train_loader_x)
        every, first = self.cfg.TRAIN.PRINT_FREQ, self.epoch == self.start_epoch
        log = EpochLog(
            self.epoch, self.max_epoch, self.num_batches, every, self.write_scalar, first
        )
        with self.on_worthwhile_threads():
            for number, batch in enumerate(log.timed(self.train_loader_x)):
                self.batch_idx = number
                rate = self.get_current_lr()  # the epoch's last step lowers it for the next one
                log.step(self.forward_backward(batch), rate, batch.get("impath", ()))
        self._clock.training += log.seconds

    def after_epoch(self) -> None:
        """Watch the metric that selects or schedules, and keep checkpoints as Dassl does.

        Beside those, one of every other epoch is there to resume from; only the newest is kept.
        """
        self.weights_epoch = self.epoch + 1
        watched = self.epoch_selection.watched_split
        if watched and not self.cfg.TEST.NO_TEST:
            metric = self.test(watched)
            if isinstance(self.sched, PlateauOnValidation):
                self.sched.observe(metric)
            if self.epoch_selection.observe(metric):
                self.save_model(self.epoch, self.output_dir, val_result=metric, model_name=BEST)
        if self._is_evaluated(self.epoch + 1, besides=watched):
            self.test(self.cfg.TEST.SPLIT)
        self._keep_epoch()
        self.checkpoints.keep_newest(self.epoch + 1)

    def after_train(self) -> None:
        """Evaluate the last epoch's weights, or those of the best one."""
        print("Finish training")
        if not self.cfg.TEST.NO_TEST:
            if self.epoch_selection.selects:
                print(f"Deploy {FINAL_MODELS[self.cfg.TEST.FINAL_MODEL]}")
                self.load_model(self.output_dir)
            else:
                print("Deploy the last-epoch model")
            self.test()
        print(f"Elapsed: {timedelta(seconds=round(time.time() - self.time_start))}")
        self.close_writer()

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
        with self.on_worthwhile_threads():
            for batch in tqdm(loader, disable=len(loader) < _FEW_BATCHES):
                features, targets = self.parse_batch_test(batch)
                self.evaluator.process(self.model_inference(features), targets)
            metrics = self.evaluator.evaluate()
            for metric, value in metrics.items():
                self.write_scalar(f"{name}/{metric}", value, self.epoch)
            if split is None:
                self._write_results(name)
        return next(iter(metrics.values()))

    def _write_results(self, split: str) -> None:
        spent, evaluation = self._clock.spent(self.data.seconds), not self._training
        if self.cfg.TEST.SAVE_SCORES:
            scored = self._scored(getattr(self, f"{split}_loader"))
            there = self.data.trains or self.data.has_train_pictures()
            training = self._scored(self.data.plain_train_loader) if there else None
            self.report.write_scores(split, evaluation, scored, training)
        self.report.write(split, self.weights_epoch, self.selection, evaluation, **spent)

    def _scored(self, loader: Iterable[dict[str, Any]]) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in loader:
            features, targets = self.parse_batch_train(batch)
            yield self.model_inference(features), targets

    @property
    def checkpoints(self) -> Checkpoints:
        """Those of this run."""
        return Checkpoints(self.output_dir, self.learner_name)

    @cached_property
    def clip_digest(self) -> str:
        """SHA-256 of CLIP's weights as they were loaded."""
        return weights_digest(self.clip.clip_model)

    def _origin(self) -> dict[str, Any]:
        """Where a checkpoint of this run comes from."""
        per_class = self.class_specific or bool(self.method_cfg.get("CSC", False))
        return origin_of(self.cfg, self.method_cfg, self.clip_digest, self.classnames, per_class)

    def resume_model_if_exist(self, directory: str) -> int:
        """Dassl's resumption; see `RunState.resume`."""
        return self.run_state.resume(directory)

    def _keep_epoch(self) -> None:
        """Save this epoch's numbered checkpoint."""
        if self._is_due(self.epoch + 1):
            self.save_model(self.epoch, self.output_dir)
        else:
            with contextlib.redirect_stdout(io.StringIO()):  # a line each epoch would drown the log
                self.save_model(self.epoch, self.output_dir)

    def _is_evaluated(self, done: int, besides: str | None) -> bool:
        """Whether TEST.EVAL_FREQ asks for a look at TEST.SPLIT; the last epoch gets one anyway."""
        test, last = self.cfg.TEST, done == self.max_epoch
        is_due = test.EVAL_FREQ > 0 and done % test.EVAL_FREQ == 0
        return is_due and not last and not test.NO_TEST and test.SPLIT != besides

    def _is_due(self, done: int) -> bool:
        """Whether a checkpoint stays; others are for resuming alone."""
        every = self.cfg.TRAIN.CHECKPOINT_FREQ
        return done == self.max_epoch or (every > 0 and done % every == 0)

    def save_model(
        self,
        epoch: int,
        directory: str,
        is_best: bool = False,
        val_result: float | None = None,
        model_name: str = "",
    ) -> None:
        """Dassl's saving; see `RunState.save`.

        Args:
            epoch: current epoch, from 0; the file says how many are done.
            directory: a run's folder.
            is_best: also copy it to `model-best.pth.tar`.
            val_result: kept in the file.
            model_name: file name; `model.pth.tar-<epochs done>` by default.
        """
        done = epoch + 1
        resume_only = not model_name and not self._is_due(done)
        naming = {"is_best": is_best, "model_name": model_name}
        self.run_state.save(directory, done, val_result, resume_only, **naming)

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Dassl's loading of trained contexts for evaluation; see `RunState.load`."""
        if self.model.learner is None:
            print(f"{self.cfg.TRAINER.NAME} trains nothing, so nothing is loaded.")
        elif not directory:
            print("No --model-dir given: evaluating untrained contexts.")
        else:
            self.weights_epoch, self.selection = self.run_state.load(directory, epoch)
