"""Feature files: encoder outputs on disk, shared by all runs, in safetensors format.

A file appears under its name only when it is complete. Until then it is a `.part` beside it, which
its writer locks: a second run waits and then reads, and the lock of a run that is killed goes with
it (see `loading.cache.unfinished_files`).
Files are never evicted; any of them, or the whole folder, may be deleted at any time.

The header holds a checksum (CRC-32) of each tensor, which is verified when the file is read: any
flipped bit is noticed, and the file is made again. Of local features that are so large that they
stay in the file (see `MMAP_FROM_BYTES`) the length alone is checked, for they are never read as a
whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError
from torch import Tensor

from common.readers.safetensors_files import open_safetensors
from loading.cache.unfinished_files import NOTE, unfinished
from modeling.encoders.features import Features

MMAP_FROM_BYTES = 4 * 2**30  # bytes of local features from which on they stay in the file
_TYPES = {  # fields of `Features` to how they are kept; fp16 keeps three decimals of a unit vector
    "global_features": (torch.float32, "F32"),
    "local_features": (torch.float16, "F16"),
    "mask": (torch.bool, "BOOL"),
}
_FORMAT = "2"  # of these files; a change of it makes all of them anew
_CHECKSUM = "crc32 of "  # key of the header, with the tensor's name
_CHUNK = 16 << 20  # bytes of a checksum that are read at once


Write = Callable[[int, int, Features], None]  # view, first image, features from there on
EncodeInto = Callable[[Write], None]


class CannotStoreError(Exception):
    """The folder cannot be written to, or is full; the message is the system's."""


class FeatureFile:
    """File of features of V views of N images; its name contains a hash of the cache key.

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

    def read(self, device: torch.device) -> Features | None:
        """The features [V, N, ...], or None if there is no such file or it is damaged.

        Local features of more than `MMAP_FROM_BYTES` bytes stay in the file, rows being read as
        needed; of all other tensors the checksums are verified.
        """
        self._seen = self._identity()
        if self._seen is None:
            return None
        try:
            with open_safetensors(self.path) as file:
                states = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            self._check(tensors)
            if {name: said for name, said in states.items() if name in self.key} != self.key:
                raise ValueError("its header states other contents")
            for name, tensor in tensors.items():
                if not too_large(name, tensor.nbytes):
                    tensors[name] = tensor.clone()  # of what is checked, not of the file
                    if states.get(_CHECKSUM + name) != _hex(zlib.crc32(_bytes_of(tensors[name]))):
                        raise ValueError(f"the checksum of {name} is wrong")
                    tensors[name] = tensors[name].to(device)
        except (SafetensorError, OSError, ValueError) as error:
            print(f"{self.path} is damaged ({error}); encoding again.")
            return None
        return Features(**tensors)

    def _check(self, tensors: Mapping[str, Tensor]) -> None:
        if "global_features" not in tensors or not set(tensors).issubset(_TYPES):
            raise ValueError(f"it holds {', '.join(tensors) or 'nothing'}")
        for name, tensor in tensors.items():
            if tensor.shape[:2] != self.shape or tensor.dtype is not _TYPES[name][0]:
                raise ValueError(f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}")

    def make(self, encode_into: EncodeInto, device: torch.device) -> tuple[Features, bool]:
        """Encode into a file that could not be read, unless another run finishes it first.

        Args:
            encode_into: encodes all images, calling its argument with each batch of features.
            device: where the features go.

        Returns:
            The features [V, N, ...], and whether this call encoded them.

        Raises:
            CannotStoreError: the file cannot be written.
        """
        try:
            with unfinished(self.path) as (part, file):
                if self._identity() != self._seen:  # another run has just finished it
                    found = self.read(device)
                    if found is not None:
                        return found, False
                writer = _Writer(file, self.shape, self.key)
                encode_into(writer.write)
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

    The header comes last, as it holds the checksums; so an unfinished file is no safetensors file.

    Args:
        file: open for reading and writing; what it holds is overwritten.
        shape: V and N.
        key: goes into the header.
    """

    def __init__(self, file: BinaryIO, shape: tuple[int, int], key: Mapping[str, str]) -> None:
        self.file, self.shape, self.key = file, shape, key
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
        end = 0
        for name, rows in tensors.items():
            size = (*self.shape, *rows.shape[1:])
            start, end = end, end + rows.element_size() * torch.Size(size).numel()
            kind = _TYPES[name][1]
            self._entries[name] = {"dtype": kind, "shape": size, "data_offsets": [start, end]}
        payload = len(self._header(dict.fromkeys(tensors, 0)))
        for name, entry in self._entries.items():
            self._starts[name] = payload + entry["data_offsets"][0]
        self.file.truncate(payload + end)

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


def too_large(name: str, size: int) -> bool:
    """Whether a tensor of `size` bytes stays on the CPU's side."""
    return name == "local_features" and size > MMAP_FROM_BYTES
