"""What a run saves after an epoch and restores when it goes on, or is evaluated."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path

from dassl.utils import load_checkpoint, save_checkpoint
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from common.ranks import is_first
from common.rng_state import get_rng_state, set_rng_state
from trainers.base.saving.checkpoints import Checkpoints, how_chosen, load_into
from trainers.base.saving.run_record import RunRecord


class RunState:
    """Learner, optimiser, schedule and random generators of a run, in Dassl's checkpoints.

    Args:
        name: the registered name, which is the checkpoints' folder.
        learner: what is trained.
        optim: its optimiser.
        sched: its schedule.
        record: of the run; which weights are at hand is kept there.
        every: epochs between checkpoints that stay; 0: the last epoch's alone.
    """

    def __init__(
        self,
        name: str,
        learner: nn.Module,
        optim: Optimizer,
        sched: LRScheduler,
        record: RunRecord,
        every: int,
    ) -> None:
        self.name, self.learner, self.optim, self.sched = name, learner, optim, sched
        self.record, self.every = record, every

    def save(
        self,
        directory: str | Path,
        done: int,
        caching: float,
        val_result: float | None,
        is_best: bool,
        model_name: str,
    ) -> None:
        """Write a checkpoint to `<directory>/<name>`; of several ranks, the first does.

        One is written after every epoch, to resume from. Those between TRAIN.CHECKPOINT_FREQ's are
        removed as soon as a later one is there, and leave no line in the log, which they would
        drown.

        Args:
            directory: a run's folder.
            done: epochs done.
            caching: seconds in which this process made or loaded caches.
            val_result: the watched metric, in percent.
            is_best: also copy it to `model-best.pth.tar`.
            model_name: file name; "" for the numbered one, `model.pth.tar-<epochs done>`.

        Raises:
            FloatingPointError: a weight is infinite or NaN; nothing is written.
            OSError: the disk is full, or the folder cannot be written to.
        """
        if not is_first():
            return
        resume_only = not model_name and not self._stays(done)
        spent = self.record.spent(caching)
        state = {
            "state_dict": self.learner.state_dict(),
            "epoch": done,
            "optimizer": self.optim.state_dict(),
            "scheduler": self.sched.state_dict(),
            "val_result": None if val_result is None else float(val_result),
            "rng_state": get_rng_state(),
            "run": {**self.record.origin, **spent, "resume_only": resume_only},
        }
        log = io.StringIO() if resume_only else sys.stdout
        with contextlib.redirect_stdout(log):
            folder = str(Path(directory, self.name))
            save_checkpoint(state, folder, is_best=is_best, model_name=model_name)
        if not model_name:
            Checkpoints(directory, self.name).keep_newest(done)

    def _stays(self, done: int) -> bool:
        """Whether the numbered checkpoint of an epoch is kept when a later one is there."""
        last = done == self.record.origin["max_epoch"]
        return last or (self.every > 0 and done % self.every == 0)

    def resume(self, directory: str | Path) -> int:
        """Go on from the checkpoint with most epochs done.

        Returns:
            The number of epochs done; 0 if there are no checkpoints.

        Raises:
            ValueError: the checkpoint belongs to another trainer, CLIP, options or classes.
        """
        newest = Checkpoints(directory, self.name).resume_point()
        if newest is None:
            print("No checkpoint found, train from scratch")
            return 0
        path, checkpoint = newest
        print(f"Found checkpoint at {directory} (will resume training)")
        load_into(self.learner, path, checkpoint, self.record.origin)
        self.optim.load_state_dict(checkpoint["optimizer"])
        self.sched.load_state_dict(checkpoint["scheduler"])
        if "rng_state" in checkpoint:  # absent from files that stock Dassl wrote
            set_rng_state(checkpoint["rng_state"])
        self.record.continue_from(checkpoint.get("run", {}))
        self.record.epoch = checkpoint["epoch"]
        print(f"Going on after epoch {checkpoint['epoch']} of {path}")
        return checkpoint["epoch"]

    def load(self, directory: str | Path, epoch: int | None) -> None:
        """Load what was learnt, to evaluate it.

        Args:
            directory: a run's folder.
            epoch: which checkpoint; None takes model-best, or else the newest.

        Raises:
            FileNotFoundError: there is no such checkpoint; the message lists those that are.
            ValueError: it belongs to another method, other options or other classes.
        """
        path = Checkpoints(directory, self.name).find(epoch)
        checkpoint = load_checkpoint(str(path))
        load_into(self.learner, path, checkpoint, self.record.origin)
        self.record.epoch = int(checkpoint["epoch"])
        self.record.selection = how_chosen(path, checkpoint)
        print(f"Loaded contexts of epoch {self.record.epoch} from {path}")
