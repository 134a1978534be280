"""Unpack chosen files of a tar or zip; nothing is ever written outside the target folder."""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO, NamedTuple

from tqdm import tqdm


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
        archive: A tar (compressed or not) or a zip.
        folder: Where its members go, at their own relative paths.
        wanted: Called with the path of each file in the archive.

    Returns:
        The number of files written.

    Raises:
        ValueError: The archive or a wanted member is damaged, or a member's path leads out of the
            folder; in the latter case nothing is written.
    """
    written = 0
    try:
        with _opened(archive) as members:
            chosen = [m for m in members if _inside(archive, m.name) and wanted(m.name)]
            for member in tqdm(chosen, desc=f"unpacking {archive.name}", unit="file"):
                _write(member, folder / member.name)
                written += 1
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"{archive} is damaged ({type(error).__name__}: {error}); remove it and fetch it again."
        ) from error
    return written


@contextmanager
def _opened(archive: Path) -> Iterator[list[Member]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as source:
            yield [
                Member(info.filename, info.file_size, lambda info=info: source.open(info))
                for info in source.infolist()
                if not info.is_dir()
            ]
    else:
        with tarfile.open(archive) as source:
            yield [
                Member(info.name, info.size, lambda info=info: source.extractfile(info))
                for info in source
                if info.isreg()
            ]


def _inside(archive: Path, name: str) -> bool:
    """True; refuse a path that is absolute or climbs, by the rules of any system."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if posix.is_absolute() or windows.anchor or ".." in (*posix.parts, *windows.parts):
        raise ValueError(f"{archive}: refused, its member {name!r} would be written elsewhere")
    return True


def _write(member: Member, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part{os.getpid()}")
    try:
        with member.open() as source, part.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
        if part.stat().st_size != member.size:
            raise EOFError(f"{member.name} has {part.stat().st_size} of {member.size} bytes")
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
