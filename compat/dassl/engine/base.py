"""TrainerBase: registered models with their optimisers, and the bare training loop."""

from __future__ import annotations

import math
import os
from typing import Any

import torch
from dassl.utils import load_checkpoint, resume_from_checkpoint, save_checkpoint, tolist_if_not
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from common.rng_state import get_rng_state

BEST_MODEL = "model-best.pth.tar"


class TrainerBase:
    """Registered models, checkpoints, TensorBoard and the loop over epochs."""

    def __init__(self) -> None:
        self._models: dict[str, nn.Module] = {}
        self._optims: dict[str, Optimizer | None] = {}
        self._scheds: dict[str, LRScheduler | None] = {}
        self._writer = None
        self.best_result = -math.inf

    def register_model(
        self,
        name: str = "model",
        model: nn.Module | None = None,
        optim: Optimizer | None = None,
        sched: LRScheduler | None = None,
    ) -> None:
        """Put a model under the trainer's care: modes, updates and checkpoints.

        Args:
            name: unique; its checkpoints go to a directory of that name.
            model: module; usually only the part that is trained.
            optim: its optimiser.
            sched: its schedule.

        Raises:
            AttributeError: `super().__init__()` was not called before.
            ValueError: the name is taken.
        """
        if "_models" not in vars(self):
            raise AttributeError("Cannot assign model before super().__init__() call")
        if name in self._models:
            raise ValueError(f'Found duplicate model names: "{name}" is registered already')
        self._models[name] = model
        self._optims[name] = optim
        self._scheds[name] = sched

    def get_model_names(self, names: str | list[str] | None = None) -> list[str]:
        """The given names after a check, or all names."""
        if names is None:
            return list(self._models)
        names = tolist_if_not(names)
        for name in names:
            if name not in self._models:
                raise ValueError(f'No model is called "{name}", choose from {[*self._models]}')
        return names

    # Checkpoints

    def save_model(
        self,
        epoch: int,
        directory: str,
        is_best: bool = False,
        val_result: float | None = None,
        model_name: str = "",
    ) -> None:
        """Write one checkpoint per registered model.

        Args:
            epoch: current epoch, from 0; the file says how many are done.
            directory: gets `<registered name>/<file>`.
            is_best: also copy it to `model-best.pth.tar`.
            val_result: kept in the file.
            model_name: file name; `model.pth.tar-<epochs done>` by default.
        """
        for name in self.get_model_names():
            optim, sched = self._optims[name], self._scheds[name]
            save_checkpoint(
                {
                    "state_dict": self._models[name].state_dict(),
                    "epoch": epoch + 1,
                    "optimizer": optim.state_dict() if optim is not None else None,
                    "scheduler": sched.state_dict() if sched is not None else None,
                    "val_result": float(val_result) if val_result is not None else None,
                    "rng_state": get_rng_state(),
                },
                os.path.join(directory, name),
                is_best=is_best,
                model_name=model_name,
            )

    def resume_model_if_exist(self, directory: str) -> int:
        """Continue from the latest checkpoints in `directory`, if every model has one.

        Returns:
            The number of epochs done; 0 if there are no checkpoints.
        """
        folders = {name: os.path.join(directory, name) for name in self.get_model_names()}
        if not all(os.path.isfile(os.path.join(path, "checkpoint")) for path in folders.values()):
            print("No checkpoint found, train from scratch")
            return 0
        print(f"Found checkpoint at {directory} (will resume training)")
        start_epoch = 0
        for name, path in folders.items():
            start_epoch = resume_from_checkpoint(
                path, self._models[name], self._optims[name], self._scheds[name]
            )
            self._restore_best_result(os.path.join(path, BEST_MODEL))
        return start_epoch

    def _restore_best_result(self, path: str) -> None:
        """Without it the first epoch after resuming would pass for the best."""
        if os.path.isfile(path):
            result = load_checkpoint(path)["val_result"]
            self.best_result = -math.inf if result is None else float(result)

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load the weights of all registered models.

        Args:
            directory: output directory of a run; if empty, nothing is loaded.
            epoch: epochs done; None: the best model on the validation set.

        Raises:
            FileNotFoundError: there is no such checkpoint.
        """
        if not directory:
            print("load_model() is skipped, as no directory with a trained model is given")
            return
        file_name = BEST_MODEL if epoch is None else f"model.pth.tar-{epoch}"
        for name in self.get_model_names():
            path = os.path.join(directory, name, file_name)
            if not os.path.exists(path):
                raise FileNotFoundError(f"No model at {path}")
            saved = load_checkpoint(path)
            result = saved.get("val_result")
            result = "None" if result is None else f"{result:.1f}"
            print(f"Load {path} to {name} (epoch={saved['epoch']}, val_result={result})")
            self._models[name].load_state_dict(saved["state_dict"])

    # Models

    def set_model_mode(self, mode: str = "train", names: str | list[str] | None = None) -> None:
        """Put models into training mode ("train") or evaluation mode ("test" or "eval")."""
        if mode not in ("train", "test", "eval"):
            raise KeyError(f'mode must be "train", "test" or "eval", got "{mode}"')
        for name in self.get_model_names(names):
            self._models[name].train(mode == "train")

    def update_lr(self, names: str | list[str] | None = None) -> None:
        """Step the schedules."""
        for name in self.get_model_names(names):
            if self._scheds[name] is not None:
                self._scheds[name].step()

    def get_current_lr(self, names: str | list[str] | None = None) -> float:
        """Rate of the first group of the first model."""
        return self._optims[self.get_model_names(names)[0]].param_groups[0]["lr"]

    def detect_anomaly(self, loss: Tensor) -> None:
        """Stop at a loss that is not finite, with a FloatingPointError."""
        if not torch.isfinite(loss).all():
            raise FloatingPointError("Loss is infinite or NaN!")

    def model_zero_grad(self, names: str | list[str] | None = None) -> None:
        """Clear the gradients."""
        for name in self.get_model_names(names):
            if self._optims[name] is not None:
                self._optims[name].zero_grad()

    def model_backward(self, loss: Tensor) -> None:
        """Check the loss and compute gradients."""
        self.detect_anomaly(loss)
        loss.backward()

    def model_update(self, names: str | list[str] | None = None) -> None:
        """Step the optimisers."""
        for name in self.get_model_names(names):
            if self._optims[name] is not None:
                self._optims[name].step()

    def model_backward_and_update(self, loss: Tensor, names: str | list[str] | None = None) -> None:
        """Clear gradients, compute them and step."""
        self.model_zero_grad(names)
        self.model_backward(loss)
        self.model_update(names)

    # TensorBoard

    def init_writer(self, log_dir: str) -> None:
        """Open TensorBoard files, if the package is installed."""
        if self._writer is not None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            print("No TensorBoard files are written: the package tensorboard is not installed")
            return
        print(f"Initialize tensorboard (log_dir={log_dir})")
        self._writer = SummaryWriter(log_dir=log_dir)

    def close_writer(self) -> None:
        """Close the TensorBoard files."""
        if self._writer is not None:
            self._writer.close()

    def write_scalar(self, tag: str, scalar_value: float, global_step: int | None = None) -> None:
        """Write a number for TensorBoard; nothing without `init_writer`, as in evaluation only."""
        if self._writer is not None:
            self._writer.add_scalar(tag, scalar_value, global_step)

    # The loop; subclasses fill in the hooks

    def train(self, start_epoch: int, max_epoch: int) -> None:
        """Run the epochs from `start_epoch` (which `before_train` may move) up to `max_epoch`."""
        self.start_epoch = start_epoch
        self.max_epoch = max_epoch
        self.before_train()
        self.epoch = max(self.start_epoch - 1, 0)  # holds if a finished run is resumed
        for epoch in range(self.start_epoch, self.max_epoch):
            self.epoch = epoch
            self.before_epoch()
            self.run_epoch()
            self.after_epoch()
        self.after_train()

    def before_train(self) -> None:
        """Hook."""

    def after_train(self) -> None:
        """Hook."""

    def before_epoch(self) -> None:
        """Hook."""

    def after_epoch(self) -> None:
        """Hook."""

    def run_epoch(self) -> None:
        """One pass over the training data."""
        raise NotImplementedError

    def test(self) -> float:
        """Evaluate; returns the main result."""
        raise NotImplementedError

    def parse_batch_train(self, *batches: dict[str, Any]) -> tuple:
        """Batch to tensors on the device."""
        raise NotImplementedError

    def parse_batch_test(self, batch: dict[str, Any]) -> tuple:
        """Batch to tensors on the device."""
        raise NotImplementedError

    def forward_backward(self, *batches: dict[str, Any]) -> dict[str, float | Tensor] | None:
        """One training step; returns what to log."""
        raise NotImplementedError

    def model_inference(self, input: Tensor) -> Tensor:
        """Images to scores."""
        raise NotImplementedError
