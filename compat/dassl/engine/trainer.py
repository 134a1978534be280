"""SimpleTrainer and its two kinds: TrainerX (labelled data) and TrainerXU (and unlabelled)."""

from __future__ import annotations

import datetime
import difflib
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from itertools import chain, islice, repeat
from typing import Any

import torch
from dassl.data import DataManager
from dassl.evaluation import build_evaluator
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import (
    AverageMeter,
    MetricMeter,
    count_num_param,
    load_pretrained_weights,
    mkdir_if_missing,
)
from torch import Tensor, nn
from tqdm import tqdm
from yacs.config import CfgNode

from .base import BEST_MODEL, TrainerBase
from .simple_net import SimpleNet

__all__ = ["SimpleNet", "SimpleTrainer", "TrainerBase", "TrainerX", "TrainerXU"]


class SimpleTrainer(TrainerBase):
    """Everything about a run but the passes over the data.

    Args:
        cfg: frozen config.
    """

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        self.check_cfg(cfg)
        use_cuda = torch.cuda.is_available() and cfg.USE_CUDA
        self.device = torch.device("cuda" if use_cuda else "cpu")
        self.start_epoch = self.epoch = 0
        self.max_epoch = cfg.OPTIM.MAX_EPOCH
        self.output_dir = cfg.OUTPUT_DIR
        self.cfg = cfg
        self.build_data_loader()
        self.build_model()
        self.evaluator = build_evaluator(cfg, lab2cname=self.lab2cname)

    def check_cfg(self, cfg: CfgNode) -> None:
        """Hook: raise for settings this trainer cannot work with."""

    def build_data_loader(self) -> None:
        """Set the loaders; a replacement must set the same attributes."""
        self.dm = DataManager(self.cfg)
        self.train_loader_x = self.dm.train_loader_x
        self.train_loader_u = self.dm.train_loader_u  # None without unlabelled data
        self.val_loader = self.dm.val_loader  # None without validation data
        self.test_loader = self.dm.test_loader
        self.num_classes = self.dm.num_classes
        self.num_source_domains = self.dm.num_source_domains
        self.lab2cname = self.dm.lab2cname

    def build_model(self) -> None:
        """Build and register a classifier; prompt trainers replace this."""
        cfg = self.cfg
        print("Building model")
        self.model = SimpleNet(cfg, cfg.MODEL, self.num_classes)
        if cfg.MODEL.INIT_WEIGHTS:
            load_pretrained_weights(self.model, cfg.MODEL.INIT_WEIGHTS)
        self.model.to(self.device)
        print(f"# params: {count_num_param(self.model):,}")
        self.optim = build_optimizer(self.model, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model("model", self.model, self.optim, self.sched)
        device_count = torch.cuda.device_count()
        if self.device.type == "cuda" and device_count > 1:
            print(f"Detected {device_count} GPUs (use nn.DataParallel)")
            self.model = nn.DataParallel(self.model)

    def train(self) -> None:
        """Train, then test."""
        super().train(self.start_epoch, self.max_epoch)

    def before_train(self) -> None:
        """Resume if there are checkpoints, and open the TensorBoard files."""
        cfg = self.cfg
        if cfg.RESUME:
            self._check_resume_directory(cfg.RESUME)
        self.start_epoch = self.resume_model_if_exist(cfg.RESUME or cfg.OUTPUT_DIR)
        if cfg.RESUME:
            self._bring_best_model(cfg.RESUME)
        writer_dir = os.path.join(self.output_dir, "tensorboard")
        mkdir_if_missing(writer_dir)
        self.init_writer(writer_dir)
        self.time_start = time.time()

    def _check_resume_directory(self, directory: str) -> None:
        """A directory named by the user must hold checkpoints; starting anew would hide a typo."""
        for name in self.get_model_names():
            pointer = os.path.join(directory, name, "checkpoint")
            if os.path.isfile(pointer):
                continue
            parent = os.path.dirname(os.path.normpath(directory)) or "."
            siblings = os.listdir(parent) if os.path.isdir(parent) else []
            near = difflib.get_close_matches(os.path.basename(directory), siblings, n=1)
            advice = f" Do you mean {os.path.join(parent, near[0])}?" if near else ""
            raise FileNotFoundError(
                f"RESUME {directory} holds no checkpoint of {name}: there is no {pointer}.{advice}"
            )

    def _bring_best_model(self, directory: str) -> None:
        """Copy the best model so far, which may stay the best, from another run's directory."""
        if os.path.abspath(directory) == os.path.abspath(self.output_dir):
            return
        for name in self.get_model_names():
            source = os.path.join(directory, name, BEST_MODEL)
            if os.path.isfile(source):
                mkdir_if_missing(os.path.join(self.output_dir, name))
                shutil.copy(source, os.path.join(self.output_dir, name, BEST_MODEL))

    def after_epoch(self) -> None:
        """Validate if the best model is wanted, and save what is due."""
        done = self.epoch + 1
        test = self.cfg.TEST
        if not test.NO_TEST and test.FINAL_MODEL == "best_val":
            result = self.test(split="val")
            if result > self.best_result:
                self.best_result = result
                self.save_model(
                    self.epoch, self.output_dir, val_result=result, model_name=BEST_MODEL
                )
        frequency = self.cfg.TRAIN.CHECKPOINT_FREQ
        if done == self.max_epoch or (frequency > 0 and done % frequency == 0):
            self.save_model(self.epoch, self.output_dir)

    def after_train(self) -> None:
        """Test the final model and close the files."""
        print("Finish training")
        if not self.cfg.TEST.NO_TEST:
            if self.cfg.TEST.FINAL_MODEL == "best_val":
                print("Deploy the model with the best val performance")
                self.load_model(self.output_dir)
            else:
                print("Deploy the last-epoch model")
            self.test()
        elapsed = datetime.timedelta(seconds=round(time.time() - self.time_start))
        print(f"Elapsed: {elapsed}")
        self.close_writer()

    @torch.no_grad()
    def test(self, split: str | None = None) -> float:
        """Evaluate the current weights.

        Args:
            split: val | test; None: `TEST.SPLIT`. Without validation data, val means test.

        Returns:
            The first result of the evaluator.
        """
        self.set_model_mode("eval")
        self.evaluator.reset()
        split = split or self.cfg.TEST.SPLIT
        use_val = split == "val" and self.val_loader is not None
        split, data_loader = ("val", self.val_loader) if use_val else ("test", self.test_loader)
        print(f"Evaluate on the *{split}* set")
        for batch in tqdm(data_loader):
            images, targets = self.parse_batch_test(batch)
            self.evaluator.process(self.model_inference(images), targets)
        results = self.evaluator.evaluate()
        for name, value in results.items():
            self.write_scalar(f"{split}/{name}", value, self.epoch)
        return next(iter(results.values()))

    def model_inference(self, input: Tensor) -> Tensor:
        """Images to scores."""
        return self.model(input)

    def parse_batch_test(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Images and labels, on the device."""
        return batch["img"].to(self.device), batch["label"].to(self.device)

    def run_steps(self, batches: Iterable[tuple], num_batches: int) -> None:
        """One epoch of `forward_backward(*batch)`, with the log line and the TensorBoard values.

        Args:
            batches: arguments of each step.
            num_batches: how many there are.
        """
        self.set_model_mode("train")
        self.num_batches = num_batches
        losses, batch_time, data_time = MetricMeter(), AverageMeter(), AverageMeter()
        every = self.cfg.TRAIN.PRINT_FREQ
        end = time.time()
        for self.batch_idx, batch in enumerate(batches):
            data_time.update(time.time() - end)
            losses.update(self.forward_backward(*batch))
            batch_time.update(time.time() - end)
            if (self.batch_idx + 1) % every == 0 or num_batches < every:
                print(self._progress(losses, batch_time, data_time))
            step = self.epoch * num_batches + self.batch_idx
            for name, meter in losses.meters.items():
                self.write_scalar(f"train/{name}", meter.avg, step)
            self.write_scalar("train/lr", self.get_current_lr(), step)
            end = time.time()

    def _progress(
        self, losses: MetricMeter, batch_time: AverageMeter, data_time: AverageMeter
    ) -> str:
        """The log line of a step; tools parse it."""
        epochs_left = self.max_epoch - self.epoch - 1
        batches_left = epochs_left * self.num_batches + self.num_batches - self.batch_idx - 1
        eta = datetime.timedelta(seconds=int(batch_time.avg * batches_left))
        return (
            f"epoch [{self.epoch + 1}/{self.max_epoch}] "
            f"batch [{self.batch_idx + 1}/{self.num_batches}] "
            f"time {batch_time.val:.3f} ({batch_time.avg:.3f}) "
            f"data {data_time.val:.3f} ({data_time.avg:.3f}) "
            f"{losses} lr {self.get_current_lr():.4e} eta {eta}"
        )


class TrainerX(SimpleTrainer):
    """Training on labelled data; a subclass writes `forward_backward(batch)`."""

    def run_epoch(self) -> None:
        """One pass over the labelled data."""
        loader = self.train_loader_x
        self.run_steps(((batch,) for batch in loader), len(loader))

    def parse_batch_train(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Images, labels and domains, on the device."""
        images, labels, domains = batch["img"], batch["label"], batch["domain"]
        return images.to(self.device), labels.to(self.device), domains.to(self.device)


class TrainerXU(SimpleTrainer):
    """Training on labelled and unlabelled batches: `forward_backward(batch_x, batch_u)`."""

    def run_epoch(self) -> None:
        """As many steps as `TRAIN.COUNT_ITER` says; the shorter loader starts over."""
        len_x, len_u = len(self.train_loader_x), len(self.train_loader_u)
        lengths = {"train_x": len_x, "train_u": len_u, "smaller_one": min(len_x, len_u)}
        count_iter = self.cfg.TRAIN.COUNT_ITER
        if count_iter not in lengths:
            raise ValueError(f"TRAIN.COUNT_ITER must be one of {[*lengths]}, got {count_iter}")
        num_batches = lengths[count_iter]
        pairs = zip(_endless(self.train_loader_x), _endless(self.train_loader_u), strict=True)
        self.run_steps(islice(pairs, num_batches), num_batches)

    def parse_batch_train(
        self, batch_x: dict[str, Any], batch_u: dict[str, Any]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Labelled images, their labels and unlabelled images, on the device."""
        images_x, labels, images_u = batch_x["img"], batch_x["label"], batch_u["img"]
        return images_x.to(self.device), labels.to(self.device), images_u.to(self.device)


def _endless(loader: Iterable) -> Iterator:
    """Pass after pass; the first one is opened at once, which decides the order of random draws."""
    return chain(iter(loader), chain.from_iterable(repeat(loader)))
