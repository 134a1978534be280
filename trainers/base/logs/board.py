"""TensorBoard's values of one run: each tag has each step once, also when a run goes on."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from torch import Tensor

from common.ranks import is_first
from evaluation.metrics.precision_recall import CURVE_ROWS
from trainers.base.logs.event_files import keep_events

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

# Tags below these count the run's steps from 0; all others count its epochs from 0.
_COUNT_STEPS = ("train/", "learner/", "speed/")
_QUEUE = 1000  # values; PyTorch's 10 make a step wait for the thread that writes them
_HYPERPARAMETERS = "_hparams_"


class Board:
    """Writes to TensorBoard what no earlier process of the run has written.

    Without a writer, nothing is written and nothing is an error.

    Attributes:
        writer: PyTorch's; None before `open` and after `close`.
    """

    def __init__(self) -> None:
        self.writer: SummaryWriter | None = None
        self._last: dict[str, int] = {}

    def open(self, folder: str | Path, epochs: int, steps_per_epoch: int) -> None:
        """Open files in a folder, out of which is taken what a run that goes on writes again.

        Of several ranks, the first does.

        Args:
            folder: of event files.
            epochs: done by the run that goes on; 0 for a run that begins.
            steps_per_epoch: of its training.
        """
        if not is_first():
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            print("No TensorBoard files are written: the package tensorboard is not installed")
            return

        def keep(tag: str, step: int) -> bool:
            done = epochs * steps_per_epoch if tag.startswith(_COUNT_STEPS) else epochs
            return step < done and not tag.startswith(_HYPERPARAMETERS)

        self._last = keep_events(Path(folder), keep)
        print(f"Initialize tensorboard (log_dir={folder})")
        self.writer = SummaryWriter(log_dir=str(folder), max_queue=_QUEUE)

    def flush(self) -> None:
        """Bring the files up to date, before a checkpoint says that an epoch is over."""
        if self.writer is not None:
            self.writer.flush()

    def close(self) -> None:
        """Close the files."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        """Write a number; called as that of `SummaryWriter` is, by Dassl."""
        if self._is_new(tag, step):
            self.writer.add_scalar(tag, value, step)

    def text(self, tag: str, text: str, step: int = 0) -> None:
        """Write a text as it stands, with its spaces and line ends."""
        if self._is_new(tag, step):
            self.writer.add_text(tag, "".join(f"    {line}\n" for line in text.splitlines()), step)

    def image(self, tag: str, image: Image.Image, step: int, kind: str = "PNG") -> None:
        """Write an RGB image.

        Args:
            tag: its name.
            image: to write.
            step: of the tag's axis.
            kind: a format that browsers show. JPEG takes a tenth of the time for photographs.
        """
        if not self._is_new(tag, step):
            return
        from tensorboard.compat.proto.summary_pb2 import Summary

        file = io.BytesIO()
        image.save(file, kind)
        shape = {"width": image.width, "height": image.height, "colorspace": 3}
        encoded = Summary.Image(**shape, encoded_image_string=file.getvalue())
        summary = Summary(value=[Summary.Value(tag=tag, image=encoded)])
        self.writer.file_writer.add_summary(summary, step)

    def curve(self, tag: str, curve: Tensor, step: int) -> None:
        """Write a precision-recall curve [6, L], of `precision_recall_curve`."""
        if self._is_new(tag, step):
            rows = dict(zip(CURVE_ROWS, curve.cpu().numpy(), strict=True))
            names = {"tp": "true_positive_counts", "fp": "false_positive_counts"}
            names |= {"tn": "true_negative_counts", "fn": "false_negative_counts"}
            named = {names.get(name, name): row for name, row in rows.items()}
            self.writer.add_pr_curve_raw(
                tag, **named, global_step=step, num_thresholds=len(rows["tp"])
            )

    def hyperparameters(
        self, values: Mapping[str, str | float], metrics: Mapping[str, float]
    ) -> None:
        """Write a run's row of the tab "HParams"; its metrics are tags of scalars.

        Args:
            values: of the row.
            metrics: tags, with their last values.
        """
        if self.writer is None:
            return
        from torch.utils.tensorboard.summary import hparams

        # `add_hparams` would put them into a run of their own, beside this one.
        for summary in hparams(dict(values), dict(metrics)):
            self.writer.file_writer.add_summary(summary)

    def _is_new(self, tag: str, step: int) -> bool:
        """Whether this step of a tag has not been written, by this process or an earlier one."""
        if self.writer is None or step <= self._last.get(tag, -1):
            return False
        self._last[tag] = step
        return True
