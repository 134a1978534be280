"""Counts what this process does to the files of a folder, and kills it at a chosen moment.

Python's own ways of changing files are wrapped: opening for writing, writing, cutting, syncing,
renaming, removing, making folders, copying and `torch.save`. Half-way through a write, the first
half of its bytes is in the file. A killed process leaves what a real one would, as nothing of the
project is changed and SIGKILL cannot be caught.
"""

from __future__ import annotations

import builtins
import io
import os
import pathlib
import re
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

MOMENTS = ("before", "inside", "after")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Parts of names that differ between two runs: process numbers, random letters, dates, hosts.
_PASSING = (
    (re.compile(r"\.\d+\.tmp$"), ".tmp"),
    (re.compile(r"(\.shapes_lt)-[^/]+"), r"\1"),
    (re.compile(r"(tfevents\.).*"), r"\1"),
    (re.compile(r"(log\.txt)-[-\d]+"), r"\1"),
)


class Operation(NamedTuple):
    """One change of a file: the `number`-th of this description, counted from 1."""

    description: str
    number: int
    divisible: bool  # whether there is a half-way

    def __str__(self) -> str:
        """For tables: `write out/log.txt (3)`."""
        return f"{self.description} ({self.number})"


class Victim(NamedTuple):
    """The operation at which to die, and when: one of `MOMENTS`."""

    operation: Operation
    moment: str

    def __str__(self) -> str:
        """For messages: `inside write out/log.txt (3)`."""
        return f"{self.moment} {self.operation}"


class FileOperations:
    """Watches one folder in this process, for good: for processes that end soon.

    Args:
        folder: changes elsewhere are not counted.
        victim: where to die, if anywhere.

    Attributes:
        done: the operations so far.
    """

    def __init__(self, folder: Path, victim: Victim | None = None) -> None:
        self.folder, self.victim = os.path.realpath(folder), victim
        self.done: list[Operation] = []
        self._counts: Counter[str] = Counter()
        self._wrap()

    def perform(
        self,
        name: str,
        path: str | int | os.PathLike[str],
        act: Callable[[], Any],
        half: Callable[[], object] | None = None,
        beside: int | None = None,
    ) -> Any:  # noqa: ANN401 - what the operation returns
        """Do something to a file, counting it, or die at it.

        Args:
            name: of the operation.
            path: file, or the number of an open one.
            act: does it.
            half: does half of it, where that can be.
            beside: number of the open folder that `path` is relative to.

        Returns:
            What `act` returns.
        """
        shown = self._shown(path, beside)
        if shown is None:
            return act()
        description = f"{name} {shown}"
        self._counts[description] += 1
        operation = Operation(description, self._counts[description], half is not None)
        moment = self.victim.moment if self.victim and self.victim.operation == operation else ""
        if moment == "before":
            _die()
        if moment == "inside":
            half()
            _die()
        result = act()
        if moment == "after":
            _die()
        self.done.append(operation)
        return result

    def _shown(self, path: str | int | os.PathLike[str], beside: int | None) -> str | None:
        """The path in the folder, without what passes; None if it lies elsewhere."""
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        if beside is not None:
            path = os.path.join(os.readlink(f"/proc/self/fd/{beside}"), os.fspath(path))
        path = os.path.abspath(os.fsdecode(path))
        full = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        if not full.startswith(self.folder + os.sep):
            return None
        shown = os.path.relpath(full, self.folder)
        for pattern, stable in _PASSING:
            shown = pattern.sub(stable, shown)
        return shown

    def _wrap(self) -> None:
        for name in ("unlink", "remove", "mkdir", "rmdir", "chmod", "truncate", "ftruncate"):
            _replace(os, name, self._of_one_path(name))
        for name in ("fsync", "fdatasync"):
            _replace(os, name, self._of_one_path(name))
        for name in ("rename", "replace", "link"):
            _replace(os, name, self._of_two_paths(name))
        _replace(os, "open", self._os_open())
        _replace(os, "write", self._os_write())
        _replace(os, "sendfile", self._sendfile())
        _replace(io, "open", self._io_open())
        builtins.open = io.open
        torch.save = self._torch_save()

    def _of_one_path(self, name: str) -> Callable:
        original = getattr(os, name)

        def wrapped(path: Any, *args: Any, dir_fd: int | None = None, **options: Any) -> object:  # noqa: ANN401
            if dir_fd is not None:
                options["dir_fd"] = dir_fd
            return self.perform(name, path, lambda: original(path, *args, **options), beside=dir_fd)

        return wrapped

    def _of_two_paths(self, name: str) -> Callable:
        original = getattr(os, name)

        def wrapped(source: Any, target: Any, **options: Any) -> object:  # noqa: ANN401
            return self.perform(name, target, lambda: original(source, target, **options))

        return wrapped

    def _os_open(self) -> Callable:
        original = os.open

        def wrapped(path: Any, flags: int, *args: Any, **options: Any) -> int:  # noqa: ANN401
            def act() -> int:
                return original(path, flags, *args, **options)

            return self.perform("open", path, act) if flags & _WRITES else act()

        return wrapped

    def _os_write(self) -> Callable:
        original = os.write

        def wrapped(number: int, data: bytes) -> int:
            return self.perform(
                "write",
                number,
                lambda: original(number, data),
                lambda: original(number, _first_half(data)),
            )

        return wrapped

    def _sendfile(self) -> Callable:
        original = os.sendfile

        def wrapped(target: int, source: int, offset: int, count: int) -> int:
            rest = max(os.fstat(source).st_size - offset, 0)
            return self.perform(
                "copy to",
                target,
                lambda: original(target, source, offset, count),
                lambda: original(target, source, offset, min(count, rest) // 2),
            )

        return wrapped

    def _io_open(self) -> Callable:
        original = io.open

        def wrapped(
            file: Any,  # noqa: ANN401
            mode: str = "r",
            buffering: int = -1,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
            closefd: bool = True,
            opener: Callable | None = None,
        ) -> io.IOBase:
            if not set(mode) & set("wax+") or self._shown(file, None) is None:
                return original(file, mode, buffering, encoding, errors, newline, closefd, opener)
            raw_mode = mode.replace("b", "").replace("t", "")

            def act() -> _File:
                return _File(self, file, raw_mode, closefd, opener)

            raw = act() if isinstance(file, int) else self.perform("open", file, act)
            if buffering == 0:
                return raw
            buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            if "b" in mode:
                return buffered
            text = io.TextIOWrapper(buffered, encoding, errors, newline, buffering == 1)
            text.mode = mode
            return text

        return wrapped

    def _torch_save(self) -> Callable:
        original = torch.save

        def wrapped(content: object, file: Any, *args: Any, **options: Any) -> None:  # noqa: ANN401
            def act() -> None:
                original(content, file, *args, **options)

            def half() -> None:
                act()
                os.truncate(file, os.path.getsize(file) // 2)

            if isinstance(file, (str, os.PathLike)):
                self.perform("torch.save", file, act, half)
            else:
                act()  # an open file, whose writes are counted

        return wrapped


class _File(io.FileIO):
    """A file open for writing whose every write and cut is counted."""

    def __init__(
        self,
        operations: FileOperations,
        file: Any,  # noqa: ANN401
        mode: str,
        closefd: bool,
        opener: Callable | None,
    ) -> None:
        super().__init__(file, mode, closefd, opener)
        self._operations = operations

    def write(self, data: Any) -> int:  # noqa: ANN401 - any buffer
        write = super().write
        return self._operations.perform(
            "write", self.fileno(), lambda: write(data), lambda: write(_first_half(data))
        )

    def truncate(self, size: int | None = None) -> int:
        cut = super().truncate
        return self._operations.perform("truncate", self.fileno(), lambda: cut(size))


def _first_half(data: Any) -> memoryview:  # noqa: ANN401 - any buffer
    view = memoryview(data).cast("B")
    return view[: len(view) // 2]


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _replace(module: Any, name: str, wrapped: Callable) -> None:  # noqa: ANN401
    """Put a wrapped function in its place, and where Python 3.10's pathlib has taken hold of it."""
    original = getattr(module, name)
    setattr(module, name, wrapped)
    accessor = getattr(pathlib, "_NormalAccessor", None)
    for held, value in list(vars(accessor).items()) if accessor else ():
        if value is original:
            setattr(accessor, held, staticmethod(wrapped))
