"""Read what torch wrote (`torch.save` in both of its formats, TorchScript archives) as data.

No code of a file is run or even read. Files of today are zip archives whose records lie there
uncompressed, so that nothing may unpack to more than the file's own size; every such record's
checksum is verified, so that a flipped bit is noticed. Files of torch before 1.6 are a row of
pickles, then the tensors' bytes; they have no checksums, and only a wrong length is noticed.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
import zipfile
from typing import Any

import torch
from torch import Tensor

from common.files import open_regular
from common.readers.bounded import Bounded
from common.readers.pickles.machine import read_pickle
from common.readers.pickles.tensors import Storages
from common.readers.pickles.vocabulary import Vocabulary, printable, refusal

_CHUNK = 1 << 20  # bytes read at once
_MAX_DIRECTORY = 16 << 20  # bytes of an archive's table of contents: room for 100,000 records
_LOCAL_HEADER = 30  # bytes before the name of a record
_ENCRYPTED = 0x1
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of the older format
_NOTHING = Vocabulary({}, {})


def is_torchscript(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a TorchScript archive, which is a program with its weights.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    with open_regular(path) as file:
        try:
            with zipfile.ZipFile(Bounded(file, _MAX_DIRECTORY)) as archive:
                return any(name.endswith("/constants.pkl") for name in archive.namelist())
        except (zipfile.BadZipFile, NotImplementedError, ValueError):
            return False


def read_torch_file(path: str | os.PathLike[str], vocabulary: Vocabulary) -> Any:  # noqa: ANN401
    """Read a file of torch's, its tensors on the CPU.

    Memory stays within the file's size for tensors, and within what `pickles.machine`
    grants for the rest: records that are compressed, overlap or occur twice are refused, and so are
    tensors that reach beyond their storage or claim more values than it holds.

    Args:
        path: an archive of `torch.save` or `torch.jit.save`, or a file of the older format.
        vocabulary: what its pickle may name.

    Returns:
        What was saved. Tensors that shared memory share it again.

    Raises:
        OSError: it cannot be read, or is no regular file.
        pickle.UnpicklingError: it is damaged, of another format, or asks for what is refused.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        is_archive = file.read(4) == b"PK\x03\x04"
        file.seek(0)
        if not is_archive:
            return _read_older(Bounded(file, size), size, vocabulary)
        try:
            with zipfile.ZipFile(Bounded(file, _MAX_DIRECTORY)) as archive:
                return _Archive(archive).read(size, vocabulary)
        except (EOFError, NotImplementedError, ValueError, zipfile.BadZipFile) as error:
            raise refusal(
                f"{printable(error)}: the archive was cut off or changed after it was written"
            ) from error


def _pour(source: Any, target: Tensor) -> None:  # noqa: ANN401 - anything with a `read`
    """Fill a uint8 vector with the bytes that come next."""
    room, done = memoryview(target.numpy()), 0
    while done < len(room):
        chunk = source.read(min(_CHUNK, len(room) - done))
        if not chunk:
            raise refusal("it ends within a tensor")
        room[done : done + len(chunk)] = chunk
        done += len(chunk)


class _Archive:
    """A zip archive as torch writes them, each of whose records is read once."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._records = _distinct_records(archive)
        roots = [name[: -len("/data.pkl")] for name in self._records if name.endswith("/data.pkl")]
        roots = [root for root in roots if "/" not in root]
        if len(roots) != 1:
            raise refusal(f"the archive holds {len(roots)} files */data.pkl, expected one")
        self._root = roots[0]

    def read(self, size: int, vocabulary: Vocabulary) -> Any:  # noqa: ANN401
        order = sys.byteorder.encode()
        if f"{self._root}/byteorder" in self._records:
            order = self._bytes("byteorder")
        if order not in (b"little", b"big"):
            raise refusal(f"its byte order is {printable(order)}")

        def load(key: str, dtype: torch.dtype, content: Tensor) -> None:
            if not key.isalnum():
                raise refusal(f"a storage has the name {printable(key)}")
            record = self._take(f"data/{key}")
            if record.file_size != len(content):
                raise refusal(
                    f"{record.filename} has {record.file_size} bytes, expected {len(content)}"
                )
            with self._archive.open(record) as source:
                _pour(source, content)
            if order.decode() != sys.byteorder and dtype.itemsize > 1:
                content.untyped_storage().byteswap(dtype)

        pickled = self._bytes("data.pkl")
        storages = Storages(size, load)
        found = read_pickle(io.BytesIO(pickled), len(pickled), vocabulary, storages)
        self._check_the_rest()
        return found

    def _take(self, name: str) -> zipfile.ZipInfo:
        record = self._records.pop(f"{self._root}/{name}", None)
        if record is None:
            raise refusal(f"the archive lacks {name}")
        if not _is_stored(record):
            raise refusal(
                f"{record.filename} is compressed or encrypted, and torch stores it as it is; "
                "unpack the archive and pack it without compression"
            )
        return record

    def _bytes(self, name: str) -> bytes:
        return self._archive.read(self._take(name))

    def _check_the_rest(self) -> None:
        """Verify the checksums of what the pickle did not ask for; source code is compressed."""
        for record in filter(_is_stored, self._records.values()):
            with self._archive.open(record) as source:
                while source.read(_CHUNK):
                    pass


def _is_stored(record: zipfile.ZipInfo) -> bool:
    plain = record.compress_type == zipfile.ZIP_STORED and not record.flag_bits & _ENCRYPTED
    return plain and record.compress_size == record.file_size


def _distinct_records(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Records by name, none twice, and none in the place of another."""
    found: dict[str, zipfile.ZipInfo] = {}
    end = 0
    for record in sorted(archive.infolist(), key=lambda record: record.header_offset):
        if record.filename in found:
            raise refusal(f"the archive holds {printable(record.filename)} twice")
        if record.header_offset < end:
            raise refusal(f"{printable(record.filename)} overlaps another record")
        found[record.filename] = record
        end = record.header_offset + _LOCAL_HEADER + len(record.filename) + record.compress_size
    if end > archive.start_dir:
        raise refusal("its last record overlaps the table of contents")
    return found


def _read_older(stream: Bounded, size: int, vocabulary: Vocabulary) -> Any:  # noqa: ANN401
    waiting: dict[str, tuple[torch.dtype, Tensor]] = {}

    def load(key: str, dtype: torch.dtype, content: Tensor) -> None:
        waiting[key] = dtype, content

    try:
        is_torchs = read_pickle(stream, size, _NOTHING) == _MAGIC
    except pickle.UnpicklingError:
        is_torchs = False
    if not is_torchs or read_pickle(stream, size, _NOTHING) != _PROTOCOL:
        raise refusal("it does not begin as files of torch.save do")
    machine = read_pickle(stream, size, _NOTHING)
    if not isinstance(machine, dict) or not machine.get("little_endian", True):
        raise refusal("it was written on a big-endian machine")
    found = read_pickle(stream, size, vocabulary, Storages(size, load))
    keys = read_pickle(stream, size, _NOTHING)
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(waiting):
        raise refusal("its list of storages is damaged")
    for key in keys:
        dtype, content = waiting[key]
        count = int.from_bytes(stream.read(8), "little")
        if count * dtype.itemsize != len(content):
            raise refusal(f"storage {printable(key)} is of another size than its tensors say")
        _pour(stream, content)
    return found
