"""Unpack chosen files of a tar or zip; nothing is ever written outside the target folder.

Memory stays within some hundred MB whatever an archive claims: it may hold `MAX_FILES`, and is
read in small pieces. What its files take is compared with the free disk before any is written.
"""

from __future__ import annotations

import bz2
import contextlib
import errno
import gzip
import os
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO, NamedTuple, TypeVar

from tqdm import tqdm

from common.readers.bounded import Bounded
from common.files import IrregularFileError, open_regular

MAX_FILES = 500_000  # in one archive; COCO's largest has 118,287, and each takes 1 KB of memory

_CHUNK = 1 << 20  # bytes unpacked at once
_MAX_READ = 64 << 20  # bytes read at once: a zip's table of contents, for so many files
_COMPRESSED_TARS = {b"\x1f\x8b": gzip.GzipFile, b"BZ": bz2.BZ2File}
# What the libraries raise for damage; anything may stand in a header.
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError),
    *(ArithmeticError, LookupError, TypeError, ValueError),
)


T = TypeVar("T")


class ArchiveError(ValueError):
    """An archive that is damaged, or that must not be unpacked."""


class Member(NamedTuple):
    """A regular file in an archive."""

    name: str
    size: int
    open: Callable[[], BinaryIO]


def unpack(archive: Path, folder: Path, wanted: Callable[[str], bool]) -> int:
    """Write the wanted files of an archive.

    Each file appears whole or not at all, so that an interrupted run can simply be repeated. Links
    and devices in the archive are never written, nor are its owners and permissions.

    Args:
        archive: A regular file: a tar, by itself or in gzip or bzip2, or a zip.
        folder: where its members go, at their own relative paths.
        wanted: called with the path of each file in the archive.

    Returns:
        The number of files written.

    Raises:
        ArchiveError: the archive or a wanted member is damaged, or holds more than `MAX_FILES`; a
            member's path leads out of the folder, or there is too little room for the members; in
            these cases nothing is written.
        OSError: the archive cannot be read or is no regular file, or a file cannot be written.
    """
    written = 0
    try:
        with open_regular(archive) as file, _members(file) as members:
            chosen = [m for m in members if _inside(archive, m.name) and wanted(m.name)]
            _check_room(archive, folder, sum(member.size for member in chosen))
            for member in tqdm(chosen, desc=f"unpacking {archive.name}", unit="file"):
                _write(member, folder / member.name)
                written += 1
    except (ArchiveError, IrregularFileError):
        raise
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # the system's; EINVAL: no such place
            raise
        raise _damaged(archive, error) from error
    except _DAMAGE as error:
        raise _damaged(archive, error) from error
    return written


def _damaged(archive: Path, error: Exception) -> ArchiveError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return ArchiveError(f"{archive} is damaged ({reason}); remove it and fetch it again.")


@contextlib.contextmanager
def _members(file: BinaryIO) -> Iterator[list[Member]]:
    start = file.read(2)
    file.seek(0)
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(Bounded(file, _MAX_READ)) as source:
            yield [
                Member(info.filename, info.file_size, lambda info=info: _opened(source, info))
                for info in _counted(source.infolist())
                if not info.is_dir()
            ]
        return
    file.seek(0)
    plain = _COMPRESSED_TARS.get(start, contextlib.nullcontext)(file)
    with plain as content, tarfile.open(fileobj=_InPieces(content), mode="r:") as source:
        yield [
            Member(info.name, info.size, lambda info=info: source.extractfile(info))
            for info in _counted(source)
            if info.isreg()
        ]


def _opened(source: zipfile.ZipFile, info: zipfile.ZipInfo) -> BinaryIO:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{info.filename} is compressed in a rare way, which has no limit")
    return source.open(info)


def _counted(members: Iterable[T]) -> Iterator[T]:
    for count, member in enumerate(members):
        if count == MAX_FILES:
            raise ValueError(f"it holds more than {MAX_FILES:,} files")
        yield member


class _InPieces:
    """An unpacked stream of which nobody takes too much at once, whatever a header claims."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, count: int = -1) -> bytes:
        if not 0 <= count <= _MAX_READ:
            raise ValueError(f"a header has {count} bytes")
        return self._stream.read(count)


def _check_room(archive: Path, folder: Path, size: int) -> None:
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    if size > free:
        raise ArchiveError(
            f"{archive}: its files take {size:,} bytes, and {folder} has room for {free:,}."
        )


def _inside(archive: Path, name: str) -> bool:
    """True; refuse a path that is absolute or climbs, by the rules of any system."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if posix.is_absolute() or windows.anchor or ".." in (*posix.parts, *windows.parts):
        raise ArchiveError(f"{archive}: refused, its member {name!r} would be written elsewhere")
    return True


def _write(member: Member, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part{os.getpid()}")
    try:
        with member.open() as source, part.open("wb") as file:
            shutil.copyfileobj(source, file, _CHUNK)
        if part.stat().st_size != member.size:
            raise EOFError(f"{member.name} has {part.stat().st_size} of {member.size} bytes")
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
