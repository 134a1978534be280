"""File locks: one run writes a file while the others wait for it.

The writer holds a lock on the unfinished file, which goes with it however it ends. Others wait as
long as it writes; one that writes nothing for `PATIENCE` seconds, as when it was stopped, is named
and not waited for any longer.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from common.files import check_regular

try:
    import fcntl
except ImportError:  # not a Unix: two runs may then both write, and the last one's file stays
    fcntl = None

NOTE = 256  # bytes at the start of an unfinished file that say who writes it
PATIENCE = 300.0  # seconds without a byte from another writer; a batch takes a few at most
_POLL, _TELL_EVERY = 0.2, 30.0  # seconds


@contextlib.contextmanager
def unfinished(path: Path, wait: bool = True) -> Iterator[tuple[Path, BinaryIO | None]]:
    """The `.part` of a file, ours alone; gone afterwards unless it was renamed.

    Args:
        path: the file.
        wait: whether to wait for another run that writes it.

    Yields:
        The part and the open file; None in its place if another run has it and is not waited for.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    try:
        file = _lock(part, wait)
    except BlockingIOError:
        yield part, None
        return
    if file is None:  # no locks here: a name that no other run has
        number, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
        part, file = Path(name), os.fdopen(number, "r+b")
    with file:
        try:
            _leave_note(file)
            yield part, file
        finally:
            with contextlib.suppress(OSError):
                if os.path.samestat(part.stat(), os.fstat(file.fileno())):
                    part.unlink()


def _lock(part: Path, wait: bool) -> BinaryIO | None:
    """Open a file that no other run has locked, waiting for it; None on systems without locks.

    Raises:
        BlockingIOError: another run has locked it, and is not waited for.
        OSError: it cannot be opened, or whoever holds the lock does not write.
    """
    if fcntl is None:
        return None
    waiting = _Waiting(part)
    while True:
        # Not through a link, which might lead to a file of somebody else's.
        number = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        try:
            check_regular(part, os.fstat(number).st_mode)
            file = os.fdopen(number, "r+b")
        except BaseException:
            os.close(number)
            raise
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                if not wait:
                    raise
                waiting.go_on(file)
            continue
        except OSError:
            file.close()
            return None
        with contextlib.suppress(FileNotFoundError):  # renamed by the run that was waited for
            if os.path.samestat(os.fstat(file.fileno()), part.stat()):
                return file
        file.close()


class _Waiting:
    """Waiting for the run that writes a file, as long as it does write."""

    def __init__(self, part: Path) -> None:
        self.part = part
        self.seen: tuple[int, int] | None = None  # inode and time of the last change
        self.since = self.reported = time.monotonic()

    def go_on(self, file: BinaryIO) -> None:
        """Wait for a moment.

        Raises:
            TimeoutError: the other run has written nothing for `PATIENCE` seconds.
        """
        now, status = time.monotonic(), os.fstat(file.fileno())
        changed = (status.st_ino, status.st_mtime_ns)
        first = self.seen is None
        if changed != self.seen:
            self.seen, self.since = changed, now
        if now - self.since > PATIENCE:
            raise TimeoutError(
                f"{_writer_of(file)} holds {self.part} and has written nothing for "
                f"{PATIENCE:.0f} s; if it was stopped, let it go on or end it."
            )
        if first or now - self.reported > _TELL_EVERY:
            self.reported = now
            size = status.st_blocks * 512 / 2**20
            print(f"Waiting for {_writer_of(file)}, which is writing {self.part} ({size:.0f} MB)")
        time.sleep(_POLL)


def _leave_note(file: BinaryIO) -> None:
    """Say at the start of an unfinished file who writes it; the header will take its place."""
    note = f"process {os.getpid()} on {socket.gethostname()}"
    file.seek(0)
    file.write(note.encode()[:NOTE].ljust(NOTE))
    file.flush()


def _writer_of(file: BinaryIO) -> str:
    file.seek(0)
    note = file.read(NOTE).decode(errors="replace").strip()
    return note if re.fullmatch(r"process \d+ on [\w.-]+", note) else "another process"
