"""The lines that an epoch leaves in the log and in TensorBoard."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence, Sized
from datetime import timedelta
from typing import Any, Protocol

import torch
from torch import Tensor

from trainers.base.logs.meters import NotFiniteError, TermMeters

_NAMED = 3  # images of a batch, in a message


class EpochBoard(Protocol):
    """What an epoch needs of `RunBoard`."""

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        """Write a number."""

    def statistics(self) -> Mapping[str, float]:
        """Numbers on what is trained, by name; asked only where a line is printed."""

    def flush(self) -> None:
        """Bring the files up to date."""


class EpochLog:
    """Meters and times of one epoch.

    The device is waited for only where a line is printed: every `print_every` batches and at the
    epoch's end. TensorBoard gets its values there, too.

    Args:
        epoch: number of the epoch, from 0.
        max_epoch: epochs of the run.
        num_batches: batches of the epoch.
        print_every: batches between two lines.
        board: takes names, values and steps, and gives further numbers after a step.
        first: whether no step of this process came before, for the advice on divergence.

    Attributes:
        seconds: wall-clock time of the epoch so far.
    """

    def __init__(
        self,
        epoch: int,
        max_epoch: int,
        num_batches: int,
        print_every: int,
        board: EpochBoard,
        first: bool = True,
    ) -> None:
        self.epoch, self.max_epoch, self.num_batches = epoch, max_epoch, num_batches
        self.print_every, self.board, self.first = print_every, board, first
        self._meters, self._done, self._waited, self._seen = TermMeters(), 0, 0.0, 0
        self._images: list[Sequence[str]] = []  # of the batches since a line was printed
        self._started = time.time()

    @property
    def seconds(self) -> float:
        """Wall-clock time since the epoch began."""
        return time.time() - self._started

    def timed(self, loader: Sized) -> Iterator[dict[str, Any]]:
        """The batches of a loader; the time that they are waited for is kept."""
        asked = time.time()
        for batch in loader:
            self._waited += time.time() - asked
            self._seen += len(batch["index"])
            yield batch
            asked = time.time()

    def step(self, terms: Mapping[str, Tensor], rate: float, images: Sequence[str] = ()) -> None:
        """Take in a step's loss terms; print and write where it is time.

        Args:
            terms: scalars on the device.
            rate: the learning rate of the step.
            images: paths of the batch, for messages.

        Raises:
            FloatingPointError: a term has become infinite or NaN since the last line; its name,
                the batch and the images are given.
        """
        self._meters.update(terms)
        self._images.append(images)
        self._done += 1
        if self._done % self.print_every and self._done != self.num_batches:
            return
        try:
            values = self._meters.read()
        except NotFiniteError as error:
            raise self._diverged(error, self._images[error.index]) from error
        self._images.clear()
        self._print(self._meters.line(values), rate)
        self._write(values, rate)

    def _write(self, values: Mapping[str, tuple[float, float]], rate: float) -> None:
        """Values for TensorBoard, at the number of the run's step, from 0."""
        scalars = {f"train/{name}": mean for name, (_, mean) in values.items()}
        scalars["train/lr"] = rate
        scalars |= {f"learner/{name}": value for name, value in self.board.statistics().items()}
        if self._done == self.num_batches:
            scalars |= self._speed()
        step = self.epoch * self.num_batches + self._done - 1
        for name, value in scalars.items():
            self.board.add_scalar(name, value, step)
        if self._done == self.num_batches:
            self.board.flush()

    def _speed(self) -> dict[str, float]:
        """Images a second, the share of time spent on waiting for data, and a GPU's memory."""
        seconds = self.seconds
        speed = {
            "speed/images_per_second": self._seen / seconds,
            "speed/waiting_percent": 100 * self._waited / seconds,
        }
        if torch.cuda.is_initialized():
            speed["speed/gpu_memory_mib"] = torch.cuda.max_memory_allocated() / 2**20
        return speed

    def _print(self, losses: str, rate: float) -> None:
        """Dassl's line of a step; tools parse it. Times are averages since the epoch began."""
        seconds, waited = self.seconds / self._done, self._waited / self._done
        batches = (self.max_epoch - self.epoch) * self.num_batches - self._done
        print(
            f"epoch [{self.epoch + 1}/{self.max_epoch}] "
            f"batch [{self._done}/{self.num_batches}] "
            f"time {seconds:.3f} ({seconds:.3f}) data {waited:.3f} ({waited:.3f}) "
            f"{losses} lr {rate:.4e} eta {timedelta(seconds=int(seconds * batches))}"
        )

    def _diverged(self, error: NotFiniteError, images: Sequence[str]) -> FloatingPointError:
        """What to say of a loss that is infinite or NaN."""
        named = ", ".join(images[:_NAMED])
        more = f" and {len(images) - _NAMED} more" if len(images) > _NAMED else ""
        if self.first and error.step == 0:
            advice = (
                "No step was taken before it, so OPTIM.LR is not the cause: look at the options of "
                "the loss and at PREC."
            )
        else:
            advice = "Lower OPTIM.LR, or train in PREC fp32."
        return FloatingPointError(
            f"{' and '.join(error.parts)} became infinite or NaN in epoch {self.epoch + 1}, batch "
            f"{error.step + 1} ({named}{more}). {advice}"
        )
