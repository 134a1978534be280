"""One run at a time in an output folder.

The lock is the operating system's (`filelock`), so that it goes with the process that holds it,
however that ends. Who holds it stands beside it, for those who are refused. LMPT_LOCK_PATIENCE
says for how many seconds they wait first (0): a run that is started again elsewhere waits until the
one before has let go, for which a file server may need its time when a machine is lost.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from common.files import remove_leftovers, write_text
from common.readers.json_files import read_json

_LOCK, _OWNER = ".lock", ".owner.json"
_WAIT = "LMPT_LOCK_PATIENCE"
_PATIENCE = 15.0  # seconds that decoding processes may outlive the run that started them
_POLL = 0.2  # seconds


class FolderInUseError(OSError):
    """Another run works in the folder; the message says which."""


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold an output folder, and clear it of the temporary files of runs that were killed.

    Args:
        folder: OUTPUT_DIR; made if missing.

    Raises:
        FolderInUseError: another run holds it.
        OSError: the folder cannot be made or written to.
        ValueError: LMPT_LOCK_PATIENCE is no number of seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK)
    try:
        _acquire(lock, folder)
    except NotImplementedError:
        print(
            f"{folder} is on a file system without locks: see to it that one run at a time uses it."
        )
        yield
        return
    try:
        _clear(folder)
        write_text(folder / _OWNER, json.dumps(_this_process()))
        yield
    finally:
        (folder / _OWNER).unlink(missing_ok=True)
        lock.release()


def _acquire(lock: FileLock, folder: Path) -> None:
    """Take the lock; of an owner that is dead, wait for what it has left running."""
    start, wait = time.monotonic(), _seconds_to_wait()
    while True:
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=0)
            return
        owner = _owner(folder)
        waited = time.monotonic() - start
        if owner and _runs(owner) and waited >= wait:
            raise FolderInUseError(
                f"{folder} is in use by process {owner['pid']} on {owner['host']} since "
                f"{owner['since']} ({owner['command']}). Wait until it ends, stop it, or choose "
                "another --output-dir."
            )
        if waited > max(wait, _PATIENCE):
            raise FolderInUseError(
                f"{folder} is in use by process {owner.get('pid', '?')}, or by decoding processes "
                "that it left behind. Stop them, or choose another --output-dir."
            )
        time.sleep(_POLL)


def _seconds_to_wait() -> float:
    text = os.environ.get(_WAIT) or "0"
    if not text.isdecimal():
        raise ValueError(f"{_WAIT} must be a number of seconds such as 120, got {text!r}.")
    return float(text)


def _this_process() -> dict[str, object]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": " ".join(sys.argv),
    }


def _owner(folder: Path) -> dict[str, object]:
    """Who wrote last that it holds the folder; empty in the moment before it does."""
    with contextlib.suppress(OSError, ValueError):
        owner = read_json(folder / _OWNER)
        if isinstance(owner, dict) and {"pid", "host", "since", "command"} <= set(owner):
            return owner
    return {}


def _runs(owner: dict[str, object]) -> bool:
    """Whether a process is alive; where it cannot be asked, it is taken to be."""
    if owner["host"] != socket.gethostname() or os.name == "nt":  # there, asking would signal it
        return True
    try:
        os.kill(int(owner["pid"]), 0)  # asks, and sends nothing
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to somebody else
        return True
    return True


def _clear(folder: Path) -> None:
    """Remove temporary files in the folder and in those of its models."""
    for place in (folder, *(path for path in folder.iterdir() if path.is_dir())):
        remove_leftovers(place)
