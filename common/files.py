"""Files that are written whole or not at all, and read without being made to wait.

`write_whole`, `write_text` and `replacing` write a temporary file beside the target, force it to
the disk and rename it, so that neither a kill nor a power cut leaves half a file under the name.
Every file that a user names is opened by `open_regular`, or by `read_whole` and `read_text`, which
refuse named pipes, devices and folders: these would block a reader for ever or feed it without an
end. What a file holds is then read by the module of its kind in `common.readers`, which states its
limits.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

# Of texts: lists of five million images, or all captions of COCO (0.1 GB) a few times over.
MAX_BYTES = 256 << 20

_LEFTOVER = re.compile(r"\..+\.\d+\.tmp")  # what `_temporary` makes
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class IrregularFileError(OSError):
    """A path that exists but is no regular file."""


class FileTooLargeError(ValueError):
    """A file that is larger than any honest one of its kind."""


def write_whole(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that readers, and whoever comes after a crash, never meet half of it.

    Args:
        path: file to write; missing folders are made.
        write: is given the open temporary file.

    Raises:
        OSError: the file cannot be written; one that was there before is untouched.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        write(file)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file in UTF-8; see `write_whole`."""
    write_whole(path, lambda file: file.write(text.encode()))


def write_figure(path: str | os.PathLike[str], figure: Any) -> None:  # noqa: ANN401 - matplotlib's
    """Write a matplotlib figure; the path's suffix chooses the format, png without one."""
    image_format = Path(path).suffix.lstrip(".") or "png"
    write_whole(path, lambda file: figure.savefig(file, format=image_format))


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the path of a temporary file that becomes `path` on success; for writers of paths.

    Args:
        path: file to write; missing folders are made.

    Raises:
        OSError: the file cannot be written; one that was there before is untouched.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, target)
        sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Force a folder's names to the disk, where the system can (Windows cannot)."""
    with contextlib.suppress(OSError):
        _sync(folder)


def remove_leftovers(folder: Path) -> list[Path]:
    """Remove the temporary files of writers that were killed.

    Only for folders in which nobody else writes.

    Args:
        folder: it alone, not what lies deeper; it need not exist.

    Returns:
        What was removed.
    """
    found = [path for path in folder.glob(".*.tmp") if _LEFTOVER.fullmatch(path.name)]
    for path in found:
        path.unlink(missing_ok=True)
    return found


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading bytes, never waiting for anybody.

    Args:
        path: the file; links are followed.

    Returns:
        The open file.

    Raises:
        IrregularFileError: it is a named pipe, a device, a socket or a folder.
        OSError: it is absent or cannot be read.
    """
    # O_NONBLOCK: without it, opening a pipe would wait for somebody to write into it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        number = os.open(path, flags)
    except OSError:
        check_regular(path, os.stat(path).st_mode)  # a socket cannot be opened at all
        raise
    try:
        check_regular(path, os.fstat(number).st_mode)
        return os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise


def read_whole(path: str | os.PathLike[str], most: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file.

    Args:
        path: see `open_regular` for what is refused.
        most: bytes that an honest file of its kind may have.

    Raises:
        FileTooLargeError: it has more.
        OSError: it is absent, no regular file, or cannot be read.
    """
    with open_regular(path) as file:
        # Python makes room for all that is asked for, so no more than the file's size is.
        content = file.read(min(most, os.fstat(file.fileno()).st_size) + 1)
    if len(content) > most:
        raise FileTooLargeError(
            f"{os.fspath(path)} is larger than {most:,} bytes, more than a file of its kind needs; "
            "check that it is the right one."
        )
    return content


def read_text(path: str | os.PathLike[str], most: int = MAX_BYTES) -> str:
    """The text of a regular file in UTF-8, with or without a byte order mark.

    Args:
        path: the file.
        most: see `read_whole`.

    Raises:
        ValueError: it is larger, or not UTF-8; one line with its name.
        OSError: it is absent, no regular file, or cannot be read.
    """
    try:
        return read_whole(path, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{os.fspath(path)} is not UTF-8 text (byte {error.start}); save it as such."
        ) from error


def check_regular(path: str | os.PathLike[str], mode: int) -> None:
    """Raise IrregularFileError unless the mode (of `os.fstat`) is that of a regular file."""
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no regular file")
        raise IrregularFileError(f"{os.fspath(path)} is {kind}, expected a file.")


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)
