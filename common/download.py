"""Published files to this machine: resumed where a try stopped, kept if the checksum is right."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from common.files import open_regular

ALGORITHMS = {32: "md5", 64: "sha256"}  # by the number of hexadecimal digits

_CHUNK = 1 << 20  # bytes
_PATIENCE, _POLL = 300.0, 5.0  # seconds without a byte from another process, between looks


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Checksum of a file in hexadecimal digits."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open_regular(path) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def download(url: str, target: Path, checksum: str) -> Path:
    """Fetch `url` to `target` once, continuing where an earlier try stopped.

    The bytes go to `<target>.part`, which takes the final name only when its checksum is right, or
    where none is published, when all have come.

    Args:
        url: where the file is published.
        target: where it shall lie.
        checksum: as published; 64 hexadecimal digits are a SHA256, 32 an MD5, "" is none.

    Returns:
        `target`.

    Raises:
        ConnectionError: the file cannot be fetched, and the message says how to place it by hand;
            or another process holds its lock without fetching.
        ValueError: the bytes that came have another checksum, or `checksum` is of no known kind.
    """
    if checksum and len(checksum) not in ALGORITHMS:
        raise ValueError(f"expected a SHA256 or an MD5 in hexadecimal digits, got {checksum!r}")
    algorithm = ALGORITHMS.get(len(checksum), "")
    kind = algorithm.upper() or "checksum"
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with _alone(target, part):
        if target.is_file():
            if not checksum or file_digest(target, algorithm) == checksum:
                return target
            print(f"{target} has another {kind} than published; fetching it again.")
        try:
            fetch(url, part)
        except OSError as error:
            raise ConnectionError(
                f"Cannot download {target.name} ({error}).\n"
                f"  Fetch by hand: {url}\n"
                f"  and place at:  {target}\n"
                f"  its {kind} is: {checksum or 'not published'}\n"
                "What has arrived so far is kept; the same command continues it."
            ) from error
        found = file_digest(part, algorithm) if checksum else ""
        if found != checksum:
            part.unlink()
            raise ValueError(
                f"{url} has {kind} {found}, expected {checksum}; it was thrown away. Try again, "
                "or check the network's proxy."
            )
        os.replace(part, target)
    return target


@contextlib.contextmanager
def _alone(target: Path, part: Path) -> Iterator[None]:
    """Hold the lock of a file, waiting for another process as long as that fetches."""
    lock, size, since = FileLock(f"{target}.lock"), -1, time.monotonic()
    while True:
        try:
            lock.acquire(timeout=_POLL)
            break
        except Timeout:
            if size < 0:
                print(f"Waiting for another process, which is fetching {target}")
        now = part.stat().st_size if part.exists() else 0
        if now != size:
            size, since = now, time.monotonic()
        if time.monotonic() - since > _PATIENCE:
            raise ConnectionError(
                f"Another process holds {target}.lock and has fetched nothing for {_PATIENCE:.0f} "
                "s. If it was stopped, let it go on or end it."
            )
    try:
        yield
    finally:
        lock.release()


def fetch(url: str, part: Path, show: bool = True) -> None:
    """Fetch `url` to `part`; bytes that `part` holds already are not fetched again.

    Args:
        url: where the file is published.
        part: where the bytes go; kept when the transfer breaks.
        show: whether to draw a progress bar.

    Raises:
        OSError: the file cannot be fetched, or not all of it came.
    """
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        source = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left to fetch: the checksum decides
            return
        raise
    except http.client.HTTPException as error:
        raise ConnectionError(f"{type(error).__name__}: {error}") from error
    with source:
        resumed = have > 0 and source.status == 206
        total = int(source.headers.get("Content-Length") or 0) + (have if resumed else 0)
        bar = tqdm(desc=part.stem, total=total or None, unit="B", unit_scale=True, disable=not show)
        bar.update(have if resumed else 0)
        with bar, part.open("ab" if resumed else "wb") as file:
            try:
                while chunk := source.read(_CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
            except http.client.HTTPException as error:
                raise ConnectionError(f"{type(error).__name__}: {error}") from error
    if part.stat().st_size < total:
        raise ConnectionError(f"only {part.stat().st_size} of {total} bytes came")
