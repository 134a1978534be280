"""What a run saves after an epoch and restores when it goes on, or is evaluated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dassl.utils import load_checkpoint, save_checkpoint
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from common.rng_state import get_rng_state, set_rng_state
from trainers.base.checkpoints import Checkpoints, how_chosen, load_into
from trainers.base.run_record import RunClock


class RunState:
    """Learner, optimiser, schedule and random generators of a run, in Dassl's checkpoints.

    Args:
        name: the registered name, which is the checkpoints' folder.
        learner: what is trained.
        optim: its optimiser.
        sched: its schedule.
        clock: of the run.
        origin: gives where the run comes from; see `origin_of`.
        caching: gives the seconds in which caches were made.
    """

    def __init__(
        self,
        name: str,
        learner: nn.Module,
        optim: Optimizer,
        sched: LRScheduler,
        clock: RunClock,
        origin: Callable[[], dict[str, Any]],
        caching: Callable[[], float],
    ) -> None:
        self.name, self.learner, self.optim, self.sched = name, learner, optim, sched
        self.clock, self.origin, self.caching = clock, origin, caching

    def save(
        self,
        directory: str | Path,
        done: int,
        val_result: float | None,
        resume_only: bool,
        **naming: Any,  # noqa: ANN401 - as of save_checkpoint
    ) -> None:
        """Write a checkpoint to `<directory>/<name>`.

        Args:
            directory: a run's folder.
            done: epochs done.
            val_result: the watched metric, in percent.
            resume_only: whether a later checkpoint may take its place.
            **naming: `is_best` and `model_name` of `dassl.utils.save_checkpoint`.

        Raises:
            FloatingPointError: a weight is infinite or NaN; nothing is written.
            OSError: the disk is full, or the folder cannot be written to.
        """
        spent = self.clock.spent(self.caching())
        state = {
            "state_dict": self.learner.state_dict(),
            "epoch": done,
            "optimizer": self.optim.state_dict(),
            "scheduler": self.sched.state_dict(),
            "val_result": None if val_result is None else float(val_result),
            "rng_state": get_rng_state(),
            "run": {**self.origin(), **spent, "resume_only": resume_only},
        }
        save_checkpoint(state, str(Path(directory, self.name)), **naming)

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
        load_into(self.learner, path, checkpoint, self.origin())
        self.optim.load_state_dict(checkpoint["optimizer"])
        self.sched.load_state_dict(checkpoint["scheduler"])
        if "rng_state" in checkpoint:  # absent from files that stock Dassl wrote
            set_rng_state(checkpoint["rng_state"])
        self.clock.continue_from(checkpoint.get("run", {}))
        print(f"Going on after epoch {checkpoint['epoch']} of {path}")
        return checkpoint["epoch"]

    def load(self, directory: str | Path, epoch: int | None) -> tuple[int, str]:
        """Load what was learnt, to evaluate it.

        Args:
            directory: a run's folder.
            epoch: which checkpoint; None takes model-best, or else the newest.

        Returns:
            Its epochs of training, and how that epoch was chosen.

        Raises:
            FileNotFoundError: there is no such checkpoint; the message lists those that are.
            ValueError: it belongs to another method, other options or other classes.
        """
        path = Checkpoints(directory, self.name).find(epoch)
        checkpoint = load_checkpoint(str(path))
        load_into(self.learner, path, checkpoint, self.origin())
        done = int(checkpoint["epoch"])
        print(f"Loaded contexts of epoch {done} from {path}")
        return done, how_chosen(path, checkpoint)
