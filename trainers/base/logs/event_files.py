"""TensorBoard's event files of a run that goes on: what is trained anew is taken out of them.

TensorBoard's own `purge_step` knows one axis. Here some tags count steps and some count epochs, and
other readers of event files do not heed it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.files import write_whole

_PATTERN = "events.out.tfevents.*"
_TEXT = "/text_summary"  # what `add_text` adds to a tag

Keep = Callable[[str, int], bool]  # of a tag and its step


def keep_events(folder: Path, keep: Keep) -> dict[str, int]:
    """Remove from a folder's event files what is not to be kept; emptied files go.

    Files are replaced whole, and only where something is removed.

    Args:
        folder: of the event files; it need not exist.
        keep: whether a value stays.

    Returns:
        The last step of each tag that is left.
    """
    last: dict[str, int] = {}
    for path in sorted(folder.glob(_PATTERN)):
        events = _read(path)
        kept = [event for event in events if _reduce(event, keep, last)]
        if not any(event.HasField("summary") for event in kept):
            path.unlink()
        elif len(kept) < len(events):
            _write(path, kept)
    return last


def _reduce(event: Any, keep: Keep, last: dict[str, int]) -> bool:  # noqa: ANN401 - a protobuf
    """Take values out of an event; returns whether anything of it stays."""
    if not event.HasField("summary"):
        return True
    kept = [value for value in event.summary.value if keep(_tag(value.tag), event.step)]
    for value in kept:
        tag = _tag(value.tag)
        last[tag] = max(event.step, last.get(tag, 0))
    changed = len(kept) < len(event.summary.value)
    if changed:
        del event.summary.value[:]
        event.summary.value.extend(kept)
    return bool(kept)


def _tag(written: str) -> str:
    return written.removesuffix(_TEXT)


def _read(path: Path) -> list[Any]:
    """Events of a file, up to where a killed run left half of one."""
    from google.protobuf.message import DecodeError
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    events = []
    try:
        for event in LegacyEventFileLoader(str(path)).Load():
            events.append(event)
    except DecodeError:  # no reader gets any further
        pass
    return events


def _write(path: Path, events: list[Any]) -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    def write(file: Any) -> None:  # noqa: ANN401 - the open temporary file
        writer = RecordWriter(file)
        for event in events:
            writer.write(event.SerializeToString())

    write_whole(path, write)
