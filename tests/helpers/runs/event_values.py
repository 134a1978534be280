"""What TensorBoard's event files hold, record by record and without any of its clean-ups."""

from __future__ import annotations

from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util.tensor_util import make_ndarray

Written = dict[str, list[tuple[int, object]]]  # step and value of each tag, as written


def event_values(folder: Path) -> Written:
    """All values of a folder's files; numbers are floats, texts and images bytes."""
    values: Written = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                array = make_ndarray(value.tensor)
                values.setdefault(value.tag, []).append((event.step, array.tolist()))
    return values
