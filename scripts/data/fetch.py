"""Fetch and unpack the files of a data set that are absent; the others are left alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError, URLError

from tqdm import tqdm

from common.readers.picture_files import open_picture
from common.download import ALGORITHMS, download, fetch
from datasets.files.list_files import ListEntry
from datasets.official.made_lists import ensure_lists
from scripts.data.check import is_picture, read_lists
from scripts.data.sources import Archive, Published, Source
from scripts.data.unpack_archive import unpack

DOWNLOADS = "downloads"  # beside the lists; may be removed when all is there
CONNECTIONS = 8  # pictures fetched at a time where they are published one by one
TRIES = 3  # of each file; every try goes on where the last one stopped


class Failure(NamedTuple):
    """A file that could not be fetched: where it has to be placed, and why it failed."""

    file: Published
    place: Path
    reason: str
    hint: str = ""


class Preparation:
    """One run over the files of a data set.

    Attributes:
        failures: what could not be fetched so far.

    Args:
        source: what is published.
        folder: where it goes, ROOT/voc or ROOT/coco; made if absent.
        everything: whole archives rather than what the lists name.
    """

    def __init__(self, source: Source, folder: Path, everything: bool = False) -> None:
        self.source, self.folder, self.everything = source, folder.resolve(), everything
        self.downloads = self.folder / DOWNLOADS
        self.failures: list[Failure] = []
        self._silent_hosts: set[str] = set()

    def run(self) -> list[Failure]:
        """Fetch and unpack what is absent; returns what could not be fetched.

        Raises:
            ValueError: A file came with another checksum, or an archive is damaged.
            OSError: the disk is full or cannot be written.
        """
        self.downloads.mkdir(parents=True, exist_ok=True)
        for name, file in self.source.files.items():
            place = self.folder / name
            if not place.exists() and self._fetch(file, self.downloads / name, place):
                os.replace(self.downloads / name, place)
        self._make_lists()
        _, lists = read_lists(self.source, self.folder)
        absent = {split: self._absent(entries) for split, entries in lists.items()}
        for archive in self.source.archives:
            pictures = {
                path
                for split, paths in absent.items()
                for path in paths
                if archive.split in ("", split) and path.startswith(f"{archive.pictures}/")
            }
            target = self.downloads / archive.file.name
            if archive.pictures and len(lists) < 2:
                self._fail(archive.file, target, "the lists that name its pictures come first")
            elif self._is_needed(archive, pictures):
                self._supply(archive, target, pictures)
        return self.failures

    def _make_lists(self) -> None:
        """Make the lists that are made of official files, which are fetched if they are absent."""
        source = self.source
        if source.read is None:
            return
        try:
            ensure_lists(self.folder, source.layout, source.read, "")
            return
        except FileNotFoundError:
            pass
        for archive in (archive for archive in source.archives if archive.keeps):
            target = self.downloads / archive.file.name
            if self._fetch(archive.file, target, target):
                unpack(target, self.folder, lambda name, a=archive: self._is_wanted(a, set(), name))
        if not self.failures:
            advice = "The archives do not hold it where it was expected; place it there by hand."
            ensure_lists(self.folder, source.layout, source.read, advice)

    def _absent(self, entries: list[ListEntry]) -> set[str]:
        """Images of a list without a picture."""
        place = self.source.layout.picture
        return {e.path for e in entries if not is_picture(Path(place(str(self.folder), e.path)))}

    def _is_needed(self, archive: Archive, pictures: set[str]) -> bool:
        if self.everything:
            return not self._marker(archive).exists()
        if archive.pictures:
            return bool(pictures)
        return any(not (self.folder / name).exists() for name in archive.keeps)

    def _supply(self, archive: Archive, target: Path, pictures: set[str]) -> None:
        """Bring the absent pictures and kept files of an archive to their places."""
        if archive.singles and not self.everything and not target.exists():
            self._fetch_pictures(archive, sorted(pictures))
        elif self._fetch(archive.file, target, target):
            unpack(target, self.folder, lambda name: self._is_wanted(archive, pictures, name))
            if self.everything:
                self._marker(archive).touch()

    def _is_wanted(self, archive: Archive, pictures: set[str], name: str) -> bool:
        if name in pictures:
            return True
        kept = any(name == keep or name.startswith(f"{keep}/") for keep in archive.keeps)
        return (kept or self.everything) and not (self.folder / name).exists()

    def _marker(self, archive: Archive) -> Path:
        """A file that tells that the whole archive was unpacked."""
        return self.downloads / f"{archive.file.name}.unpacked"

    def _fetch(self, file: Published, target: Path, place: Path) -> bool:
        """Whether the file is at `target` now; by hand it has to be put at `place`."""
        host = file.url.split("/")[2]
        if host in self._silent_hosts and not target.exists():
            self._fail(file, place, f"{host} could not be reached before")
            return False
        part = target.with_name(f"{target.name}.part")
        rest = file.size - (part.stat().st_size if part.exists() else 0)  # bytes
        free = shutil.disk_usage(self.downloads).free
        if not target.exists() and free < rest:
            raise OSError(
                f"{self.downloads} has {readable_size(free)} free; {file.name} needs "
                f"{readable_size(rest)}"
            )
        for tries_left in reversed(range(TRIES)):
            try:
                download(file.url, target, file.checksum)
                break
            except ConnectionError as error:
                if tries_left and not isinstance(error.__cause__, URLError):
                    continue  # the transfer broke off
                self._note_silence(host, error.__cause__)
                self._fail(file, place, str(error.__cause__))
                return False
        return True

    def _fetch_pictures(self, archive: Archive, paths: list[str]) -> None:
        """Fetch pictures one by one; if that fails, the archive counts as not fetched."""
        (self.downloads / archive.pictures).mkdir(parents=True, exist_ok=True)
        (self.folder / archive.pictures).mkdir(parents=True, exist_ok=True)
        pool = ThreadPoolExecutor(CONNECTIONS)
        try:
            done = pool.map(lambda path: self._fetch_picture(archive, path), paths)
            for _ in tqdm(done, total=len(paths), desc=archive.pictures, unit="picture"):
                pass
        except ConnectionError as error:
            self._note_silence(archive.file.url.split("/")[2], error.__cause__)
            urls = self.downloads / f"{archive.pictures}_urls.txt"
            urls.write_text("".join(f"{_single_url(archive, path)}\n" for path in paths))
            hint = f"or     wget -nc -P {self.folder / archive.pictures} -i {urls}"
            self._fail(archive.file, self.downloads / archive.file.name, str(error), hint)
        finally:
            pool.shutdown(cancel_futures=True)

    def _fetch_picture(self, archive: Archive, path: str) -> None:
        """Fetch one picture; it is decoded before it takes its place, for want of a checksum."""
        url, place = _single_url(archive, path), self.folder / path
        part = self.downloads / archive.pictures / f"{place.name}.part"
        for tries_left in reversed(range(TRIES)):
            try:
                fetch(url, part, show=False)
            except OSError as error:
                if not tries_left:
                    raise ConnectionError(f"{url}: {error}") from error
                continue
            if _decodes(part):
                os.replace(part, place)
                return
            part.unlink()
        raise ConnectionError(f"{url}: what came is no picture")

    def _note_silence(self, host: str, error: BaseException | None) -> None:
        """Remember a host that did not answer at all, so that it is not waited for again."""
        if isinstance(error, URLError) and not isinstance(error, HTTPError):
            self._silent_hosts.add(host)

    def _fail(self, file: Published, place: Path, reason: str, hint: str = "") -> None:
        if (file, place) not in [(failure.file, failure.place) for failure in self.failures]:
            self.failures.append(Failure(file, place, reason, hint))


def instructions(failures: list[Failure]) -> str:
    """What to fetch by hand, and where to place it."""
    lines = [
        "",
        f"{len(failures)} file(s) could not be fetched. Fetch them on another machine, place them",
        "as told, and run the same command again:",
        *places(failures),
    ]
    return "\n".join(lines)


def places(failures: Iterable[Failure]) -> Iterator[str]:
    """Lines on each file: where it is published, where to place it, and why it is wanted."""
    for file, place, reason, hint in failures:
        facts = "not published, nor a checksum"
        if file.checksum:
            kind = ALGORITHMS[len(file.checksum)].upper()
            facts = f"{readable_size(file.size)}, {kind} {file.checksum}"
        yield f"  {file.url}"
        yield f"    to     {place}"
        yield f"    size   {facts}"
        yield from [f"    {hint}"] if hint else []
        yield f"    reason {reason}"


def readable_size(size: int) -> str:
    """A number of bytes in GB, MB or kB."""
    for unit, bytes_of_it in (("GB", 1e9), ("MB", 1e6)):
        if size >= bytes_of_it / 10:
            return f"{size / bytes_of_it:.1f} {unit}"
    return f"{size / 1e3:.1f} kB"


def _single_url(archive: Archive, path: str) -> str:
    return f"{archive.singles}/{path.rsplit('/', 1)[1]}"


def _decodes(path: Path) -> bool:
    try:
        with open_picture(path) as image:
            image.load()
    except Exception:  # a damaged file may make a decoder raise nearly anything
        return False
    return True
