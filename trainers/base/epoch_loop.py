"""One epoch of training steps, and the lines it leaves in the log and in TensorBoard."""

from __future__ import annotations

import time
from datetime import timedelta

from dassl.engine import TrainerX

from modeling.meters import TermMeters


class EpochLoop(TrainerX):
    """Dassl's loop over the batches, which waits for the device only where a line is printed."""

    _training_seconds = 0.0

    def run_epoch(self) -> None:
        """One pass over the training batches; the device is waited for where a line is printed.

        That is every TRAIN.PRINT_FREQ batches and at the epoch's end, also for TensorBoard.

        Raises:
            FloatingPointError: the loss has become infinite or NaN.
        """
        self.set_model_mode("train")
        self.num_batches = len(self.train_loader_x)
        meters, every, started = TermMeters(), self.cfg.TRAIN.PRINT_FREQ, time.time()
        waited, asked = 0.0, started
        for done, batch in enumerate(self.train_loader_x, start=1):
            self.batch_idx = done - 1
            waited += time.time() - asked
            rate = self.get_current_lr()  # the epoch's last step lowers it for the next one
            meters.update(self.forward_backward(batch))
            if done % every == 0 or done == self.num_batches:
                values = meters.read()
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

    def _report(self, losses: str, rate: float, seconds: float, waited: float) -> None:
        """Dassl's line of a step; tools parse it. Times are averages since the epoch began."""
        batches = (self.max_epoch - self.epoch) * self.num_batches - self.batch_idx - 1
        print(
            f"epoch [{self.epoch + 1}/{self.max_epoch}] "
            f"batch [{self.batch_idx + 1}/{self.num_batches}] "
            f"time {seconds:.3f} ({seconds:.3f}) data {waited:.3f} ({waited:.3f}) "
            f"{losses} lr {rate:.4e} eta {timedelta(seconds=int(seconds * batches))}"
        )
