"""The trainer of every prompt method: Dassl's hooks around the objects that do the work."""

from __future__ import annotations

import time
from datetime import timedelta
from functools import partial
from typing import Any

from dassl.engine import TrainerX
from dassl.optim import build_optimizer
from torch import Tensor, nn
from yacs.config import CfgNode

from common.devices import run_device
from common.ranks import check_agreement, is_first, wait_for_all
from evaluation.results.run_report import RunReport
from losses.config import loss_from_config
from modeling.encoders.features import Features
from modeling.prompts.prompt_model import PromptModel
from modeling.tuning.towers import IMAGE
from trainers.base.build_model import build_model
from trainers.base.epoch_selection import EpochSelection
from trainers.base.inference import Inference
from trainers.base.logs.epoch_log import EpochLog
from trainers.base.logs.run_board import RunBoard
from trainers.base.options import check_shared_options, check_unseen, own_options
from trainers.base.plateau import build_schedule
from trainers.base.saving.checkpoints import BEST, Checkpoints
from trainers.base.saving.initial_weights import load_initial_weights
from trainers.base.saving.run_record import RunRecord, origin_of
from trainers.base.saving.run_state import RunState
from trainers.base.split_evaluation import SplitEvaluation
from trainers.base.step import TrainingStep
from trainers.base.tower_tuning import check_tuning, groups_with_rates, tuned_towers
from trainers.base.towers import load_towers
from trainers.base.training_data import TrainingData


class PromptTrainer(TrainerX):
    """A Dassl trainer around a frozen CLIP and a `PromptModel`.

    A method's trainer names its model, and says what the model needs beside its options. Its keys
    are those of `TRAINER.<CLASS NAME IN CAPITALS>`.

    Attributes:
        model_class: the method's maths.
        learner_name: the checkpoints' folder, as in CoOp.
        class_specific: whether what is learnt has a part for each class, which no other can use.
        tunes_image_encoder: of the class, whether the method trains the image tower; of a trainer,
            whether any of it learns, also by TRAINER.TUNE. Images are then encoded in every step.
        data: lists, targets, captions and loaders.
        clip: the frozen towers; `clip_digest` is the SHA-256 of their weights as loaded.
        model: the method's model; `model.learner` is what is trained and saved.
        record: which weights are at hand, where the run comes from, and its seconds.
    """

    model_class: type[PromptModel] = PromptModel
    learner_name = "prompt_learner"
    class_specific = False
    tunes_image_encoder = False

    def __init__(self, cfg: CfgNode) -> None:
        self.record = RunRecord(cfg.TEST.FINAL_MODEL)
        self.method_cfg = own_options(cfg, type(self).__name__)
        self.tunes_image_encoder = self.tunes(cfg)
        self.seed = max(cfg.SEED, 0)
        test, optim = cfg.TEST, cfg.OPTIM
        self.epoch_selection = EpochSelection(
            test.FINAL_MODEL, optim.LR_SCHEDULER, test.SPLIT, test.EVAL_FREQ, optim.MAX_EPOCH
        )
        super().__init__(cfg)
        self.evaluation = SplitEvaluation(
            self.model_inference, self.parse_batch_test, self.data.scored_batch, self.evaluator
        )
        self.report = RunReport(cfg, self.evaluator, self.data.dataset)
        self.board = RunBoard(self.report, type(self).__name__, self.data, self.model)
        self._writer = self.board  # Dassl's hooks write and close through it

    def model_arguments(self) -> dict[str, Any]:
        """What the model needs to train, by the names of its arguments; evaluations do without."""
        return {}

    @classmethod
    def tunes(cls, cfg: CfgNode) -> bool:
        """Whether any of the image tower learns, as the method or TRAINER.TUNE has it."""
        return cls.tunes_image_encoder or IMAGE in tuned_towers(cfg)

    def param_groups(self, learner: nn.Module) -> list[dict[str, Any]] | None:
        """Groups for the optimiser, with rates of their own; None: all at OPTIM.LR."""
        return groups_with_rates(learner, self.cfg)

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse values that would fail late or be ignored."""
        check_shared_options(cfg, type(self).__name__, self.tunes_image_encoder)
        check_tuning(cfg, self.model_class, self.method_cfg.PREC, type(self).tunes_image_encoder)

    def build_data_loader(self) -> None:
        """Read and check the lists; loaders follow in `build_model`."""
        self.device = run_device(self.cfg.USE_CUDA)  # Dassl knows CUDA and CPU alone
        self.data = data = TrainingData(self.cfg, self.seed)
        self.dm = data.manager
        self.num_classes, self.lab2cname = self.dm.num_classes, self.dm.lab2cname
        self.num_source_domains, self.classnames = self.dm.num_source_domains, data.classnames
        check_unseen(data.dataset, self.model_class, self.method_cfg, self.class_specific)
        self.epoch_selection.check_splits(bool(data.dataset.val), self.cfg.DATASET.NAME)

    def build_model(self) -> None:
        """Frozen towers, the loaders that encode with them, the model and its optimiser."""
        cfg, data, options = self.cfg, self.data, self.method_cfg
        print(f"Loading CLIP (backbone: {cfg.MODEL.BACKBONE.NAME}, precision: {options.PREC})")
        towers = (cfg, self.model_class, options, self.device, self.tunes_image_encoder)
        self.clip, self.clip_digest = clip, _ = load_towers(*towers)
        data.build_loaders(clip, self.tunes_image_encoder)
        self.train_loader_x, self.train_loader_u = data.train_loader, None
        self.val_loader, self.test_loader = data.val_loader, data.test_loader
        counts = data.class_counts.to(self.device)  # [C]
        more = self.model_arguments() if data.trains else {}
        more["criterion"] = loss_from_config(cfg.TRAINER.LOSS, counts, len(data.targets))
        self.model = build_model(cfg, self.model_class, options, data.classnames, clip, **more)
        self.inference = Inference(self.model)
        if self.model.learner is not None:
            self._build_training(self.model.learner)

    def _build_training(self, learner: nn.Module) -> None:
        """Initial weights, optimiser, schedule and step of what is trained."""
        cfg, name = self.cfg, self.learner_name
        if cfg.MODEL.INIT_WEIGHTS:
            load_initial_weights(learner, cfg.MODEL.INIT_WEIGHTS)
        self.optim = build_optimizer(learner, cfg.OPTIM, self.param_groups(learner))
        self.sched = build_schedule(self.optim, cfg.OPTIM)
        self.register_model(name, learner, self.optim, self.sched)
        self.record.origin = origin_of(
            cfg, self.method_cfg, self.clip_digest, self.classnames, self.class_specific
        )
        self.run_state = RunState(
            name, learner, self.optim, self.sched, self.record, cfg.TRAIN.CHECKPOINT_FREQ
        )
        self.step = TrainingStep(
            self.model.terms,
            learner.parameters(),
            self.clip.precision.scaler,
            capture=cfg.TRAIN.CUDA_GRAPH and not self.tunes_image_encoder,
        )

    def parse_batch_train(self, batch: dict[str, Any]) -> tuple[Features, Tensor]:
        """Features and targets [B, C] of a batch, on the device."""
        features = self.data.features(batch, grad=self.tunes_image_encoder)
        return features, self.data.batch_targets(batch)

    def parse_batch_test(self, batch: dict[str, Any]) -> tuple[Features, Tensor]:
        """Features and labels as the evaluator wants them: [B, C], or class indices [B]."""
        return self.data.test_features(batch), batch["label"].to(self.device, non_blocking=True)

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """One step on one batch; returns its loss terms, on the device."""
        terms = self.step(*self.parse_batch_train(batch), *self.data.batch_places(batch))
        self.model_update()
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return terms

    def model_update(self, names: list[str] | None = None) -> None:
        """Dassl's optimiser step, through the gradient scaler."""
        scaler = self.clip.precision.scaler
        for name in self.get_model_names(names):
            if self._optims[name] is not None:
                scaler.step(self._optims[name])
        scaler.update()

    def model_inference(self, features: Features) -> Tensor:
        """Logits [B, C]; text features are computed once for each evaluation."""
        return self.inference(features)

    def set_model_mode(self, mode: str = "train", names: list[str] | None = None) -> None:
        """Dassl's switch; the contexts may have changed since the last evaluation."""
        self.inference.forget_texts()
        super().set_model_mode(mode, names)

    def train(self) -> None:
        """Train; methods without parameters are only evaluated."""
        self.record.trains = True
        if self.model.learner is None:
            print(f"{self.cfg.TRAINER.NAME} trains nothing.")
            self.test()
        else:
            super().train()

    def before_train(self) -> None:
        """Set the offset, resume from a checkpoint, and finish what a kill interrupted."""
        self.set_offset()
        super().before_train()
        if self.start_epoch > 0:
            self.epoch = self.start_epoch - 1
            save = partial(self.save_model, self.epoch, self.output_dir)
            wait_for_all()  # until every rank has read what it goes on from
            if is_first():
                Checkpoints(self.output_dir, self.learner_name).complete(self.start_epoch, save)
        self.data.fill_cache()  # now, with all threads

    def set_offset(self) -> None:
        """Start COSINE_OFFSET at SigLIP's own, or the mean cosine; a resumed run brings its own."""
        if self.model.scale.has_offset:
            offset = self.clip.cosine_offset
            if offset is None:
                offset = self.model.mean_cosine(self.data.first_features())
            self.model.scale.set_offset(offset)

    def before_epoch(self) -> None:
        """Draw this epoch's order and views."""
        self.data.start_epoch(self.epoch)

    def run_epoch(self) -> None:
        """One pass over the training batches.

        Raises:
            FloatingPointError: the loss has become infinite or NaN.
        """
        self.set_model_mode("train")
        self.num_batches = batches = len(self.train_loader_x)
        every, first = self.cfg.TRAIN.PRINT_FREQ, self.epoch == self.start_epoch
        log = EpochLog(self.epoch, self.max_epoch, batches, every, self.board, first)
        with self.clip.worthwhile_threads():
            for number, batch in enumerate(log.timed(self.train_loader_x)):
                self.batch_idx = number
                rate = self.get_current_lr()  # the epoch's last step lowers it for the next one
                terms = self.forward_backward(batch)
                log.step(terms, rate, batch.get("impath", ()))
        check_agreement(terms["loss"], "the loss")
        self.record.training += log.seconds

    def after_epoch(self) -> None:
        """Evaluate the splits that are due, and leave a checkpoint to resume from."""
        self.record.epoch = self.epoch + 1
        selection = self.epoch_selection
        for split in () if self.cfg.TEST.NO_TEST else selection.splits_after(self.epoch + 1):
            metric = self.test(split)
            if split == selection.watched_split and selection.observe(metric, self.sched):
                self.save_model(self.epoch, self.output_dir, val_result=metric, model_name=BEST)
        self.save_model(self.epoch, self.output_dir)

    def after_train(self) -> None:
        """Evaluate the last epoch's weights, or those of the best one."""
        print("Finish training")
        if not self.cfg.TEST.NO_TEST:
            print(f"Deploy {self.epoch_selection.final_model}")
            if self.epoch_selection.selects:
                wait_for_all()  # until the best checkpoint is written
                self.load_model(self.output_dir)
            self.test()
        print(f"Elapsed: {timedelta(seconds=round(time.time() - self.time_start))}")
        self.close_writer()

    def test(self, split: str | None = None) -> float:
        """Evaluate; the final evaluation (`split` None) also writes results.json.

        Returns:
            The evaluator's first metric, such as mAP, in percent.
        """
        self.set_model_mode("eval")
        name = split or self.cfg.TEST.SPLIT
        with self.clip.worthwhile_threads():
            metrics = self.evaluation.run(name, getattr(self, f"{name}_loader"), split is not None)
            self.board.evaluated(name, self.epoch)
            if split is None:
                self._write_results(name)
                self.board.finish(name, self.record.epoch, evaluation=not self.record.trains)
        return next(iter(metrics.values()))

    def _write_results(self, split: str) -> None:
        weights = self.record.of_weights(self.data.seconds)
        if self.cfg.TEST.SAVE_SCORES == "all":
            scores, plain = self.evaluation.scores, self.data.readable_train_loader()
            training = None if plain is None else scores(plain)
            scored = scores(getattr(self, f"{split}_loader"))
            self.report.write_scores(split, weights["evaluation"], scored, training)
        self.report.write(split, **weights)

    def init_writer(self, log_dir: str) -> None:
        """Dassl's opening of the TensorBoard files, which may hold a run that goes on."""
        self.board.open(log_dir, self.start_epoch, len(self.train_loader_x))

    def resume_model_if_exist(self, directory: str) -> int:
        """Dassl's resumption, and the best metric, which stock Dassl forgets; see `RunState`."""
        self.epoch_selection.best = Checkpoints(directory, self.learner_name).best_metric()
        return self.run_state.resume(directory)

    def save_model(
        self,
        epoch: int,
        directory: str,
        is_best: bool = False,
        val_result: float | None = None,
        model_name: str = "",
    ) -> None:
        """Dassl's saving after an epoch, counted from 0; see `RunState.save`."""
        seconds = self.data.seconds
        self.run_state.save(directory, epoch + 1, seconds, val_result, is_best, model_name)

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Dassl's loading of trained contexts for evaluation; see `RunState.load`."""
        if self.model.learner is None:
            print(f"{self.cfg.TRAINER.NAME} trains nothing, so nothing is loaded.")
        elif not directory:
            print("No --model-dir given: evaluating untrained contexts.")
        else:
            self.run_state.load(directory, epoch)
