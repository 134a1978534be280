"""npz archives of numpy's: read as data, within limits that follow from their size, and written."""

from __future__ import annotations

import ast
import io
import math
import os
import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from typing import BinaryIO

import numpy as np

from common.files import open_regular, write_whole
from common.readers.bounded import Bounded

# What arrays may take once they are unpacked: 3 million paths, or scores of 800,000 images and 80
# classes, however well they were compressed; and beyond it what compression does to honest arrays.
MAX_UNPACKED, MAX_RATIO = 256 << 20, 64
# Bytes from which on an array is not compressed, and stays in the file when it is read.
MAP_FROM_BYTES = 256 << 20

_DATE = (1980, 1, 1, 0, 0, 0)  # of every record: zip knows none before
_CHUNK = 1 << 20  # bytes unpacked at once
_MAX_DIRECTORY = 2 << 20  # bytes of the archive's table of contents; ours have three entries
_MAX_HEADER = 10_000  # bytes of an array's, as numpy has it
_LOCAL_LENGTHS, _ENCRYPTED = 26, 1  # in a record's own header; a flag
_VERSIONS = {(1, 0): 2, (2, 0): 4, (3, 0): 4}  # of the format, to bytes of the header's length
_NUMBERS = re.compile(r"[<>|=]?(?:[biuf]\d{1,2}|\?|U[1-9]\d{0,6})")


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Write a compressed npz archive, whole or not at all; equal arrays give equal bytes.

    `numpy.savez_compressed` would put the time of day into it. Arrays of `MAP_FROM_BYTES` or more
    are not compressed, which would take minutes for little, so that they can be mapped.

    Args:
        path: file to write; missing folders are made.
        arrays: of numbers, truth values or texts, by name.
    """

    def write(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                record = zipfile.ZipInfo(f"{name}.npy", _DATE)
                array = np.asarray(array)
                small = array.nbytes < MAP_FROM_BYTES
                record.compress_type = zipfile.ZIP_DEFLATED if small else zipfile.ZIP_STORED
                with archive.open(record, "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, array, allow_pickle=False)

    write_whole(path, write)


def read_npz(path: str | os.PathLike[str], names: Iterable[str]) -> dict[str, np.ndarray]:
    """The arrays of an npz archive, every checksum verified.

    Args:
        path: a regular file, whose arrays take at most `MAX_UNPACKED` bytes and `MAX_RATIO` times
            its own size.
        names: of the arrays that are wanted.

    Returns:
        Arrays of numbers, truth values or texts by name. Those of `MAP_FROM_BYTES` or more that
        are not compressed are memory maps, read as they are looked at; writing to them changes
        the memory alone.

    Raises:
        ValueError: it is damaged, no such archive, unpacks to more, or lacks an array; or an array
            is of another type.
        OSError: it is absent, no regular file, or cannot be read.
    """
    with open_regular(path) as file:
        room = MAX_UNPACKED + MAX_RATIO * os.fstat(file.fileno()).st_size
        found = {}
        try:
            with zipfile.ZipFile(Bounded(file, _MAX_DIRECTORY)) as archive:
                for name in names:
                    record = archive.getinfo(f"{name}.npy")
                    if _mappable(record):
                        found[name] = _mapped(file, archive, record, name)
                        continue
                    room -= record.file_size
                    if room < 0:
                        raise ValueError("its arrays take far more memory than its size explains")
                    found[name] = _array(_unpacked(archive, record), name)
        # What zipfile and the decompressors raise for damage, encryption and rare compressions.
        except (
            *(zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError),
            *(OSError, RuntimeError, ValueError),
        ) as error:
            raise ValueError(
                f"{os.fspath(path)} is damaged or no npz archive of {', '.join(sorted(names))} "
                f"({' '.join(str(error).split())})."
            ) from error
    return found


def _unpacked(archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> bytearray:
    """The bytes of a record, its checksum verified; never more than it says."""
    if record.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("it is compressed in another way than numpy's")  # and without a limit
    content = bytearray()
    with archive.open(record) as source:
        while chunk := source.read(_CHUNK):
            content += chunk
    return content


def _mappable(record: zipfile.ZipInfo) -> bool:
    stored = record.compress_type == zipfile.ZIP_STORED and not record.flag_bits & _ENCRYPTED
    return stored and record.file_size == record.compress_size >= MAP_FROM_BYTES


def _mapped(
    file: BinaryIO, archive: zipfile.ZipFile, record: zipfile.ZipInfo, name: str
) -> np.memmap:
    """An array that stays in the file, its checksum verified."""
    with archive.open(record) as source:
        start = source.read(_MAX_HEADER + 20)
        while source.read(_CHUNK):  # at the end of which zipfile compares the checksums
            pass
    dtype, shape, order, length = _header(start, record.file_size, name)
    file.seek(record.header_offset + _LOCAL_LENGTHS)
    lengths = [int.from_bytes(file.read(2), "little") for _ in range(2)]  # of name and extra field
    offset = record.header_offset + _LOCAL_LENGTHS + 4 + sum(lengths) + length
    return np.memmap(file, dtype, "c", offset, shape, order)


def _array(content: bytearray, name: str) -> np.ndarray:
    """An array from the bytes of its npy file."""
    dtype, shape, order, length = _header(content, len(content), name)
    return np.frombuffer(content, dtype, offset=length).reshape(shape, order=order)


def _header(
    content: bytes | bytearray, size: int, name: str
) -> tuple[np.dtype, tuple[int, ...], str, int]:
    """Type, shape and order of an array, and where it begins in its npy file of `size` bytes."""
    stream = io.BytesIO(content)
    width = _VERSIONS.get(np.lib.format.read_magic(stream))
    length = int.from_bytes(stream.read(width or 0), "little")
    if not width or length > _MAX_HEADER:
        raise ValueError(f"{name} has an unknown header")
    try:
        header = ast.literal_eval(stream.read(length).decode("utf-8"))
        kind, shape = header["descr"], header["shape"]
        order = "F" if header["fortran_order"] else "C"
    except (SyntaxError, TypeError, LookupError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{name} has a damaged header") from error
    if not isinstance(kind, str) or not _NUMBERS.fullmatch(kind):
        raise ValueError(f"{name} holds something other than numbers, truth values or texts")
    if not isinstance(shape, tuple) or not all(type(n) is int and 0 <= n < 1 << 48 for n in shape):
        raise ValueError(f"{name} has a damaged shape")
    try:
        dtype = np.dtype(kind)
    except TypeError as error:
        raise ValueError(f"{name} is of the unknown type {kind}") from error
    if len(shape) > 8 or math.prod(shape) * dtype.itemsize != size - stream.tell():
        raise ValueError(f"{name} has more or fewer values than its header says")
    return dtype, shape, order, stream.tell()
