"""Claims of runs: locks of the operating system, which go with the process that holds them."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

_CLAIM = ".claim"


def try_lock(folder: Path) -> FileLock | None:
    """Take a run's folder for as long as this process lives and keeps the lock.

    Args:
        folder: made if missing.

    Returns:
        The lock, to be released when the run has ended; None if another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _CLAIM, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock
