"""Features on disk: encoded once for all runs, in safetensors files that say what they hold.

A file appears under its name only when it is complete. Until then it is a `.part` beside it, which
its writer locks: a second run waits and then reads, and the lock of a run that is killed goes with
it. Files are never evicted; any of them, or the whole folder, may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from modeling.views import Views

try:
    import fcntl
except ImportError:  # not a Unix: two runs may then both encode, and the last one's file stays
    fcntl = None

MAPPED = 4 * 2**30  # bytes of local features from which on they stay in the file
_TYPES = {  # fields of `Views` to how they are kept; fp16 keeps three decimals of a unit vector
    "global_features": (torch.float32, "F32"),
    "local_features": (torch.float16, "F16"),
    "mask": (torch.bool, "BOOL"),
}
_FORMAT = "1"  # of these files; a change of it makes all of them anew


Put = Callable[[int, int, Views], None]  # view, first image, features of the images from there on
Fill = Callable[[Put], None]


class CannotStoreError(Exception):
    """The folder cannot be written to, or is full; the message is the system's."""


class FeatureFile:
    """Features of V views of N images under a name that their key is part of.

    Args:
        folder: where the file lies.
        name: its readable beginning.
        key: all that the features depend on.
        views: V.
        images: N.
    """

    def __init__(
        self, folder: Path, name: str, key: Mapping[str, str], views: int, images: int
    ) -> None:
        self.shape = (views, images)
        self.key = {**key, "format": _FORMAT, "shape": f"{views} views, {images} images"}
        code = hashlib.sha256(json.dumps(self.key, sort_keys=True).encode()).hexdigest()[:16]
        readable = re.sub(r"[^\w.]+", "-", name).strip("-")
        self.path = Path(folder) / f"{readable}-{code}.safetensors"
        self._seen: tuple[int, int] | None = None  # the file that was read last

    def read(self, device: torch.device) -> Views | None:
        """The features [V, N, ...], or None if there is no such file or it is damaged.

        Local features of more than `MAPPED` bytes stay in the file, rows being read as needed.
        """
        self._seen = self._identity()
        if self._seen is None:
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                if file.metadata() != self.key:
                    raise ValueError("its header states other contents")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            self._check(tensors)
            for name, tensor in tensors.items():
                if not too_large(name, tensor.nbytes):
                    tensors[name] = tensor.to(device, copy=True)
        except (SafetensorError, OSError, ValueError) as error:
            print(f"{self.path} is damaged ({error}); encoding again.")
            return None
        return Views(**tensors)

    def _check(self, tensors: Mapping[str, Tensor]) -> None:
        if "global_features" not in tensors or not set(tensors).issubset(_TYPES):
            raise ValueError(f"it holds {', '.join(tensors) or 'nothing'}")
        for name, tensor in tensors.items():
            if tensor.shape[:2] != self.shape or tensor.dtype is not _TYPES[name][0]:
                raise ValueError(f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}")

    def make(self, fill: Fill, device: torch.device) -> tuple[Views, bool]:
        """Encode into a file that could not be read, unless another run finishes it first.

        Args:
            fill: puts all features into what it is given.
            device: where the features go.

        Returns:
            The features [V, N, ...], and whether this call encoded them.

        Raises:
            CannotStoreError: the file cannot be written.
        """
        try:
            with _unfinished(self.path) as (part, file):
                if self._identity() != self._seen:  # another run has just finished it
                    found = self.read(device)
                    if found is not None:
                        return found, False
                writer = _Writer(file, self.shape, self.key)
                fill(writer.put)
                writer.finish()
                os.replace(part, self.path)
        except OSError as error:
            raise CannotStoreError(str(error)) from error
        found = self.read(device)
        if found is None:
            raise CannotStoreError(f"{self.path} does not hold what was written")
        return found, True

    def _identity(self) -> tuple[int, int] | None:
        with contextlib.suppress(OSError):
            status = self.path.stat()
            return status.st_ino, status.st_mtime_ns
        return None


class _Writer:
    """Writes a safetensors file row by row, so that features need not fit into memory.

    Args:
        file: open for writing; what it holds is overwritten.
        shape: V and N.
        key: goes into the header.
    """

    def __init__(self, file: BinaryIO, shape: tuple[int, int], key: Mapping[str, str]) -> None:
        self.file, self.shape, self.key = file, shape, key
        self._starts: dict[str, int] = {}  # tensor to its first byte in the file

    def put(self, view: int, first: int, found: Views) -> None:
        tensors = storable(found)
        if not self._starts:
            self._write_header(tensors)
        for name, rows in tensors.items():
            row = rows[0].nbytes
            self.file.seek(self._starts[name] + (view * self.shape[1] + first) * row)
            self.file.write(rows.contiguous().cpu().numpy())

    def _write_header(self, tensors: Mapping[str, Tensor]) -> None:
        header: dict[str, object] = {"__metadata__": dict(self.key)}
        end = 0
        for name, rows in tensors.items():
            size = (*self.shape, *rows.shape[1:])
            self._starts[name] = end
            end += rows.element_size() * torch.Size(size).numel()
            offsets = [self._starts[name], end]
            header[name] = {"dtype": _TYPES[name][1], "shape": size, "data_offsets": offsets}
        text = json.dumps(header).encode()
        text += b" " * (-(len(text) + 8) % 64)  # so that rows lie aligned in a mapped file
        self.file.write(len(text).to_bytes(8, "little") + text)
        self._starts = {name: start + 8 + len(text) for name, start in self._starts.items()}
        self.file.truncate(8 + len(text) + end)

    def finish(self) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())


def storable(found: Views) -> dict[str, Tensor]:
    """The tensors that there are, in the types that are kept."""
    parts = {name: getattr(found, name) for name in _TYPES}
    return {name: t.to(_TYPES[name][0]) for name, t in parts.items() if t is not None}


def too_large(name: str, size: int) -> bool:
    """Whether a tensor of `size` bytes stays on the CPU's side."""
    return name == "local_features" and size > MAPPED


@contextlib.contextmanager
def _unfinished(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """The `.part` of a file, ours alone; gone afterwards unless it was renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    file = _lock(part)
    if file is None:  # no locks here: a name that no other run has
        number, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
        part, file = Path(name), os.fdopen(number, "r+b")
    with file:
        try:
            yield part, file
        finally:
            with contextlib.suppress(OSError):
                if os.path.samestat(part.stat(), os.fstat(file.fileno())):
                    part.unlink()


def _lock(part: Path) -> BinaryIO | None:
    """Open a file that no other run has locked, waiting for it; None on systems without locks."""
    if fcntl is None:
        return None
    while True:
        file = os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Waiting for the run that is writing {part}")
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            file.close()
            return None
        with contextlib.suppress(FileNotFoundError):  # renamed by the run that was waited for
            if os.path.samestat(os.fstat(file.fileno()), part.stat()):
                return file
        file.close()
