"""Feature files: encoder outputs of some pictures on disk, shared by all runs, as safetensors.

A file appears under its name only when it is complete. Until then it is a `.part` beside it, which
its writer locks: a second run waits and then reads, and the lock of a run that is killed goes with
it (see `loading.cache.unfinished_files`).
Files are never evicted; any of them, or the whole folder, may be deleted at any time.

A file names its pictures, in a tensor of digests. The header holds a checksum (CRC-32) of each
tensor: any flipped bit is noticed when they are compared, and the pictures are encoded again.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError
from torch import Tensor

from common.readers.safetensors_files import open_safetensors
from loading.cache.unfinished_files import NOTE, unfinished
from modeling.encoders.features import Features

MMAP_FROM_BYTES = 4 * 2**30  # bytes of one kind of feature from which on they stay in files
PICTURES = "pictures"  # the tensor of digests, uint8 [N, 16]
_TYPES = {  # fields of `Features` to how they are kept; fp16 keeps three decimals of a unit vector
    "global_features": (torch.float32, "F32"),
    "local_features": (torch.float16, "F16"),
    "mask": (torch.bool, "BOOL"),
}
_FORMAT = "3"  # of these files; a change of it makes all of them anew
_CHECKSUM = "crc32 of "  # key of the header, with the tensor's name
_CHUNK = 16 << 20  # bytes of a checksum that are read at once


Write = Callable[[int, int, Features], None]  # view, first image, features from there on
EncodeInto = Callable[[Write], None]


class CannotStoreError(Exception):
    """The folder cannot be written to, or is full; the message is the system's."""


class FeatureFile:
    """File of features of V views of N pictures.

    Args:
        path: where it lies, or is to lie.
        key: all that the features depend on beside the pictures.
        views: V.
    """

    def __init__(self, path: Path, key: Mapping[str, str], views: int) -> None:
        self.path, self.views = Path(path), views
        self.key = {**key, "format": _FORMAT, "views of each": str(views)}
        self._checksums: dict[str, str] = {}

    def open(self) -> dict[str, Tensor] | None:
        """The tensors [V, N, ...] of `Features` and `PICTURES` [N, 16], mapped into memory.

        Of the pictures the checksum is compared, of the others by `intact` and `copied`.

        Returns:
            None if there is no such file or it is damaged, which is said.
        """
        if self.identity() is None:
            return None
        try:
            with open_safetensors(self.path) as file:
                states = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            self._check(tensors, states)
            self._checksums = {name: states.get(_CHECKSUM + name, "") for name in tensors}
            tensors[PICTURES] = self.copied(PICTURES, tensors[PICTURES])
        except (SafetensorError, OSError, ValueError) as error:
            self.report(error)
            return None
        return tensors

    def copied(self, name: str, tensor: Tensor) -> Tensor:
        """A copy of a mapped tensor in memory.

        Raises:
            ValueError: its checksum is wrong.
        """
        copy = tensor.clone()  # of what is checked, not of the file
        self.check_sum(name, copy)
        return copy

    def check_sum(self, name: str, tensor: Tensor) -> None:
        """Compare a tensor's checksum.

        Raises:
            ValueError: it is wrong.
        """
        if self._checksums[name] != _hex(zlib.crc32(_bytes_of(tensor))):
            raise ValueError(f"the checksum of {name} is wrong")

    def report(self, error: Exception) -> None:
        """Say that the file is damaged, and remove it: its pictures are encoded again."""
        print(f"{self.path} is damaged ({error}); encoding again.")
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _check(self, tensors: Mapping[str, Tensor], states: Mapping[str, str]) -> None:
        names = set(tensors)
        if not {"global_features", PICTURES} <= names <= {*_TYPES, PICTURES}:
            raise ValueError(f"it holds {', '.join(tensors) or 'nothing'}")
        if {name: said for name, said in states.items() if name in self.key} != self.key:
            raise ValueError("its header states other contents")
        pictures = tensors[PICTURES]
        if pictures.dtype is not torch.uint8 or pictures.dim() != 2 or pictures.shape[1] != 16:
            raise ValueError(f"pictures is {pictures.dtype} of shape {tuple(pictures.shape)}")
        shape = (self.views, len(pictures))
        for name in names - {PICTURES}:
            tensor = tensors[name]
            if tensor.shape[:2] != shape or tensor.dtype is not _TYPES[name][0]:
                raise ValueError(f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}")

    def make(self, pictures: Tensor, encode_into: EncodeInto, wait: bool = True) -> bool | None:
        """Encode into the file, unless another run has finished it.

        Args:
            pictures: digests, uint8 [N, 16].
            encode_into: encodes all pictures, calling its argument with each batch of features.
            wait: whether to wait where another run is writing the file.

        Returns:
            Whether this call encoded them; None if another run is writing and is not waited for.

        Raises:
            CannotStoreError: the file cannot be written.
        """
        try:
            with unfinished(self.path, wait) as (part, file):
                if file is None:
                    return None
                if self.open() is not None:  # another run has just finished it
                    return False
                writer = _Writer(file, self.views, self.key, pictures)
                encode_into(writer.write)
                writer.finish()
                os.replace(part, self.path)
        except OSError as error:
            raise CannotStoreError(str(error)) from error
        return True

    def identity(self) -> tuple[int, int, int] | None:
        """Which file lies at the path now, so that a later one can be told from it."""
        with contextlib.suppress(OSError):
            status = self.path.stat()
            return status.st_ino, status.st_size, status.st_mtime_ns
        return None


class _Writer:
    """Writes a safetensors file row by row, so that features need not fit into memory.

    The header comes last, as it holds the checksums; so an unfinished file is no safetensors file.

    Args:
        file: open for reading and writing; what it holds is overwritten.
        views: V.
        key: goes into the header.
        pictures: uint8 [N, 16].
    """

    def __init__(
        self, file: BinaryIO, views: int, key: Mapping[str, str], pictures: Tensor
    ) -> None:
        self.file, self.shape, self.key = file, (views, len(pictures)), key
        self.pictures = pictures.contiguous()
        self._entries: dict[str, dict[str, object]] = {}  # of the header
        self._starts: dict[str, int] = {}  # tensor to its first byte in the file

    def write(self, view: int, first: int, features: Features) -> None:
        tensors = storable(features)
        if not self._entries:
            self._lay_out(tensors)
        for name, rows in tensors.items():
            row = rows[0].nbytes
            self.file.seek(self._starts[name] + (view * self.shape[1] + first) * row)
            self.file.write(rows.contiguous().cpu().numpy())

    def _lay_out(self, tensors: Mapping[str, Tensor]) -> None:
        sizes = {
            name: ((*self.shape, *rows.shape[1:]), _TYPES[name][1], rows.element_size())
            for name, rows in tensors.items()
        }
        sizes[PICTURES] = (tuple(self.pictures.shape), "U8", 1)
        end = 0
        for name, (size, kind, width) in sizes.items():
            start, end = end, end + width * torch.Size(size).numel()
            self._entries[name] = {"dtype": kind, "shape": size, "data_offsets": [start, end]}
        payload = len(self._header(dict.fromkeys(sizes, 0)))
        for name, entry in self._entries.items():
            self._starts[name] = payload + entry["data_offsets"][0]
        self.file.truncate(payload + end)
        self.file.seek(self._starts[PICTURES])
        self.file.write(self.pictures.numpy())

    def _header(self, checksums: Mapping[str, int]) -> bytes:
        states = {_CHECKSUM + name: _hex(checksum) for name, checksum in checksums.items()}
        text = json.dumps({"__metadata__": {**self.key, **states}, **self._entries}).encode()
        text += b" " * max(NOTE, -(len(text) + 8) % 64)
        text += b" " * (-(len(text) + 8) % 64)  # so that rows lie aligned in a mapped file
        return len(text).to_bytes(8, "little") + text

    def finish(self) -> None:
        """Write the header, with the checksums of what the file holds by now."""
        self.file.flush()
        checksums = {name: self._checksum(name) for name in self._entries}
        self.file.seek(0)
        self.file.write(self._header(checksums))
        self.file.flush()
        os.fsync(self.file.fileno())

    def _checksum(self, name: str) -> int:
        start, end = self._entries[name]["data_offsets"]
        self.file.seek(self._starts[name])
        left, checksum = end - start, 0
        while left:
            chunk = self.file.read(min(_CHUNK, left))
            if not chunk:
                raise OSError(f"{name} cannot be read back")
            left, checksum = left - len(chunk), zlib.crc32(chunk, checksum)
        return checksum


def _hex(checksum: int) -> str:
    return f"{checksum:08x}"


def _bytes_of(tensor: Tensor) -> memoryview:
    return memoryview(tensor.reshape(-1).view(torch.uint8).numpy())


def storable(found: Features) -> dict[str, Tensor]:
    """The tensors that there are, in the types that are kept."""
    parts = {name: getattr(found, name) for name in _TYPES}
    return {name: t.to(_TYPES[name][0]) for name, t in parts.items() if t is not None}


def too_large(names: Mapping[str, int]) -> Collection[str]:
    """Which kinds of features, of so many bytes each, stay in files, or in the CPU's memory."""
    return {name for name, size in names.items() if size > MMAP_FROM_BYTES}
