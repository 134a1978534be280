"""One epoch of training steps, and the lines it leaves in the log and in TensorBoard."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

from dassl.engine import TrainerX

from trainers.base.meters import NotFiniteError, TermMeters

_NAMED = 3  # images of a batch, in a message


class EpochLoop(TrainerX):
    """Dassl's loop over the batches, which waits for the device only where a line is printed."""

    _training_seconds = 0.0

    def run_epoch(self) -> None:
        """One pass over the training batches; the device is waited for where a line is printed.

        That is every TRAIN.PRINT_FREQ batches and at the epoch's end, also for TensorBoard.

        Raises:
            FloatingPointError: the loss has become infinite or NaN; its part, the batch and the
                images are named.
        """
        self.set_model_mode("train")
        self.num_batches = len(self.train_loader_x)
        meters, every, started = TermMeters(), self.cfg.TRAIN.PRINT_FREQ, time.time()
        waited, asked = 0.0, started
        images: list[Sequence[str]] = []  # of the batches since a line was printed
        for done, batch in enumerate(self.train_loader_x, start=1):
            self.batch_idx = done - 1
            waited += time.time() - asked
            rate = self.get_current_lr()  # the epoch's last step lowers it for the next one
            meters.update(self.forward_backward(batch))
            images.append(batch.get("impath", ()))
            if done % every == 0 or done == self.num_batches:
                try:
                    values = meters.read()
                except NotFiniteError as error:
                    raise self._diverged(error, images[error.index]) from error
                images.clear()
                seconds = (time.time() - started) / done
                self._report(meters.line(values), rate, seconds, waited / done)
                step = self.epoch * self.num_batches + self.batch_idx
                for name, (_, mean) in values.items():
                    self.write_scalar(f"train/{name}", mean, step)
                self.write_scalar("train/lr", rate, step)
            asked = time.time()
        self._training_seconds += time.time() - started

    def seconds_spent(self) -> dict[str, float]:
        """Seconds of parts of the run, for its results."""
        return {"training": self._training_seconds}

    def _diverged(self, error: NotFiniteError, images: Sequence[str]) -> FloatingPointError:
        """What to say of a loss that is infinite or NaN."""
        named = ", ".join(images[:_NAMED])
        more = f" and {len(images) - _NAMED} more" if len(images) > _NAMED else ""
        if self.epoch == self.start_epoch and error.step == 0:
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

    def _report(self, losses: str, rate: float, seconds: float, waited: float) -> None:
        """Dassl's line of a step; tools parse it. Times are averages since the epoch began."""
        batches = (self.max_epoch - self.epoch) * self.num_batches - self.batch_idx - 1
        print(
            f"epoch [{self.epoch + 1}/{self.max_epoch}] "
            f"batch [{self.batch_idx + 1}/{self.num_batches}] "
            f"time {seconds:.3f} ({seconds:.3f}) data {waited:.3f} ({waited:.3f}) "
            f"{losses} lr {rate:.4e} eta {timedelta(seconds=int(seconds * batches))}"
        )
