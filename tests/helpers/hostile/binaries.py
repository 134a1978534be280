"""Hostile pickles, files of torch's, safetensors, npz archives, caches, pictures and archives."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests.helpers.hostile.trial import canary
from tests.helpers.hostile.valid import header_and, in_zip, valid

_GB = 1 << 30
_PACKED = zipfile.ZIP_DEFLATED
_GLOBAL = b"\x80\x02cposix\nsystem\n"


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable, tuple[str]]:
        return os.system, (f"touch {canary(self.path.parent)}",)


def _pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"class_freq": _Touch(path)}, 2))


def _saved(path: Path, zipped: bool = True) -> None:
    torch.save({"state_dict": _Touch(path)}, path, _use_new_zipfile_serialization=zipped)


def _saved_older(path: Path) -> None:
    _saved(path, zipped=False)


def _archive(pickled: bytes, compression: int = zipfile.ZIP_STORED, **more: bytes) -> bytes:
    return in_zip(
        {"x/data.pkl": pickled, **{f"x/data/{k}": v for k, v in more.items()}}, compression
    )


def _storage(count: int, size: str, stride: str) -> bytes:
    return _archive(
        b"\x80\x02}U\x01actorch._utils\n_rebuild_tensor_v2\n(((U\x07storagectorch\nFloatStorage\n"
        b"U\x010U\x03cpu"
        + f"I{count}\nt".encode()
        + b"QI0\n"
        + f"{size}{stride}".encode()
        + b"\x89}tRs.",
        **{"0": bytes(16)},
    )


def _numpy(code: bytes, shape: bytes, content: bytes) -> bytes:
    return (
        b"\x80\x02}U\x0aclass_freqcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
        b"U\x01b\x87R(K\x01" + shape + b"cnumpy\ndtype\nU" + bytes([len(code)]) + code
        + b"K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U"
        + bytes([len(content)]) + content + b"tbs."
    )  # fmt: skip


def _scripted(path: Path) -> None:
    """A TorchScript archive of 3 MB, whose weights unpack to 3 GB."""
    records = {"x/constants.pkl": b"\x80\x02).", "x/data.pkl": b"\x80\x02N."}
    with zipfile.ZipFile(path, "w", _PACKED, compresslevel=1) as archive:
        for name, content in records.items():
            archive.writestr(name, content)
        with archive.open("x/data/0", "w", force_zip64=True) as target:
            for _ in range(96):
                target.write(bytes(1 << 23))


def _npy(shape: str, descr: str = "'|b1'", content: bytes = b"") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def _mask(known: bytes) -> bytes:
    whole = {
        "paths": _npy("(1,)", "'<U1'", b"a\0\0\0"),
        "proportion": _npy("()", "'<f8'", bytes(8)),
    }
    return in_zip({f"{k}.npy": v for k, v in {**whole, "known": known}.items()}, _PACKED)


def _bomb_mask(path: Path) -> None:
    path.write_bytes(_mask(_npy(f"({_GB // 2}, 1)", content=bytes(_GB // 2))))


def _forged_size(content: bytes) -> bytes:
    """The first record of a zip says that it unpacks to 4 GB."""
    place = content.index(b"PK\x01\x02") + 24
    return content[:place] + b"\xf0\xff\xff\xff" + content[place + 4 :]


def _tensors(header: object, content: bytes = b"") -> bytes:
    return header_and(json.dumps(header).encode(), content)


def _entry(dtype: str, shape: list, start: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def _png(width: int, height: int, mode: int, depth: int = 8) -> bytes:
    """A picture whose pixels are all zero, in a thousandth of their bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    channels = {0: 1, 2: 3, 6: 4}[mode]
    row = bytes(1 + width * channels * depth // 8)
    packer = zlib.compressobj(1)
    pixels = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    head = struct.pack(">IIBBBBB", width, height, depth, mode, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def _drawn(suffix: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 40), "red").save(file, suffix)
    return file.getvalue()


def _flat(path: Path, kind: str, **options: object) -> None:
    """A picture of one colour, a little larger than what is decoded; made by another process."""
    if (maker := os.fork()) == 0:
        try:
            Image.new("RGB", (5000, 5001)).save(path, kind, **options)
        finally:
            os._exit(0)
    os.waitpid(maker, 0)


def _bmp(width: int, height: int) -> bytes:
    whole = _drawn("BMP")
    return whole[:18] + struct.pack("<ii", width, height) + whole[26:]


def _tar(*names: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, target, size
            archive.addfile(info, io.BytesIO(bytes(size)))
    return file.getvalue()


def _long_header() -> bytes:
    """A tar in gzip whose first header claims, and has, a name of 300 MB."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 300 << 20
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(300 << 20), 1)


def _claims(size: int) -> bytes:
    info = tarfile.TarInfo("a")
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


def _flipped(content: bytes, place: int = -1) -> bytes:
    return (
        content[:place] + bytes([content[place] ^ 1]) + (content[place + 1 :] if place + 1 else b"")
    )


def flipped_value(content: bytes) -> bytes:
    """A cache with one bit of its first value changed."""
    return _flipped(content, 8 + int.from_bytes(content[:8], "little"))


_CACHE = valid("cache")
_PICKLES = {
    "a memo number of 2^27": b"\x80\x02]r\x00\x00\x00\x08.",
    "bytes(1e9)": b"\x80\x02cbuiltins\nbytes\nJ\x00\xca\x9a;\x85R.",
    "list(range(1e9))": b"\x80\x02c__builtin__\nlist\ncbuiltins\nrange\nJ\x00\xca\x9a;\x85R\x85R.",
    "pairs of pairs": b"\x80\x02N" + b"2\x86" * 60 + b".",
    "a million instructions": b"\x80\x02N" + b"0N" * 600_000 + b".",
    "a number of 2^31 bytes": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "an address as an object": _numpy(b"O8", b"K\x01\x85", struct.pack("<q", id(object))),
    "a type out of range": _numpy(b"V9", b"K\x01\x85", bytes(8)),
    "more values than bytes": _numpy(b"i8", b"J\xff\xff\xff\x7f\x85", bytes(8)),
    "a function": _GLOBAL + b"U\x04true\x85R.",
    "getattr": b"\x80\x02cbuiltins\ngetattr\ncbuiltins\nint\nU\x0b__subclass__\x86R.",
}
BINARIES = [
    ("counts", "calls a function", _pickled),
    ("checkpoint", "calls a function", _saved),
    ("checkpoint", "calls a function, older format", _saved_older),
    ("weights", "calls a function", _saved),
    ("weights", "calls a function, older format", _saved_older),
    *(("counts", name, content) for name, content in _PICKLES.items()),
    *(("checkpoint", name, _archive(content)) for name, content in _PICKLES.items()),
    ("checkpoint", "a storage of 2^40 values", _storage(1 << 40, "I2\n\x85", "I1\n\x85")),
    ("checkpoint", "a tensor beyond its storage", _storage(4, "I9\n\x85", "I1\n\x85")),
    ("checkpoint", "a negative stride", _storage(4, "I2\n\x85", "I-2\n\x85")),
    ("checkpoint", "a bomb", lambda path: path.write_bytes(_archive(bytes(300 << 20), _PACKED))),
    ("checkpoint", "a forged size", _forged_size(valid("checkpoint"))),
    ("checkpoint", "a flipped bit", _flipped(valid("checkpoint"), len(valid("checkpoint")) // 2)),
    ("weights", "a program that unpacks to 800 MB", _scripted),
    ("safetensors", "a header of 2^63 bytes", b"\xff" * 7 + b"\x7f{}"),
    ("safetensors", "a header of 100 MB", header_and(b" " * 50_000_000, b"")),
    (
        "safetensors",
        "tensors beyond the file",
        _tensors({"a": _entry("F32", [1 << 40], 0, 1 << 42)}),
    ),
    ("safetensors", "overflowing sides", _tensors({"a": _entry("F32", [1 << 62, 8], 0, 0)})),
    ("safetensors", "overlapping", _tensors({n: _entry("F32", [2], 0, 8) for n in "ab"}, bytes(8))),
    ("safetensors", "an unknown type", _tensors({"a": _entry("F1", [2], 0, 8)}, bytes(8))),
    ("safetensors", "is deep", header_and(b'{"a":' + b"[" * 1_000_000, b"")),
    ("mask", "claims 300 GB", _mask(_npy(f"({300 * _GB // 3}, 3)"))),
    ("mask", "is a bomb", _bomb_mask),
    ("mask", "a forged size", _forged_size(valid("mask"))),
    ("mask", "objects", _mask(_npy("(1,)", "'|O'", pickle.dumps(1)))),
    ("mask", "a header of brackets", _mask(_npy("(" * 5000))),
    ("mask", "a flipped bit", _flipped(valid("mask"), 60)),
    ("scores", "other arrays", valid("mask")),
    ("cache", "a flipped bit", flipped_value(_CACHE)),
    ("cache", "half of it", _CACHE[: len(_CACHE) // 2]),
    ("cache", "a header of 2^63 bytes", b"\xff" * 7 + b"\x7f" + _CACHE[8:]),
    ("picture", "EPS", _drawn("EPS")),
    ("picture", "PDF", _drawn("PDF")),
    ("picture", "half of it", _drawn("JPEG")[:300]),
    ("picture", "nothing", b""),
    ("picture", "a bomb", lambda path: path.write_bytes(_png(13_000, 13_000, 0))),
    ("picture", "49 million pixels", lambda path: path.write_bytes(_png(7000, 7000, 2))),
    ("picture", "49 million clear pixels", lambda path: path.write_bytes(_png(7000, 7000, 6))),
    ("picture", "16 bits", lambda path: path.write_bytes(_png(7000, 7000, 0, 16))),
    ("picture", "WEBP of a few bytes", lambda path: _flat(path, "WEBP", lossless=True, method=0)),
    ("picture", "JPEG 2000 of a few bytes", lambda path: _flat(path, "JPEG2000")),
    ("picture", "claims 2^31 rows", _bmp(40, (1 << 31) - 1)),
    ("picture", "claims 2^30 pixels", _bmp(1 << 15, 1 << 15)),
    ("archive", "a path that climbs", _tar("../climbed")),
    ("archive", "an absolute path", _tar("/tmp/absolute")),
    ("archive", "a path of Windows", _tar("C:\\x")),
    ("archive", "a path that climbs in a zip", in_zip({"../climbed": b"x"})),
    ("archive", "a link outside", _tar("a", kind=tarfile.SYMTYPE, target="../../outside/mine.txt")),
    ("archive", "a hard link outside", _tar("a", kind=tarfile.LNKTYPE, target="/etc/passwd")),
    ("archive", "a device in it", _tar("a", kind=tarfile.CHRTYPE)),
    ("archive", "a file in the place of a folder", _tar("a", "a/b")),
    ("archive", "a name of 300 MB", lambda path: path.write_bytes(_long_header())),
    ("archive", "claims 2^60 bytes", _claims(1 << 60)),
    ("archive", "a forged size", _forged_size(in_zip({"a": bytes(1000)}, _PACKED))),
    (
        "archive",
        "a rare compression",
        lambda path: path.write_bytes(in_zip({"a": bytes(300 << 20)}, zipfile.ZIP_BZIP2)),
    ),
    ("archive", "no archive", np.random.default_rng(0).bytes(5000)),
]
