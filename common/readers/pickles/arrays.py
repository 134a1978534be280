"""Numbers and arrays of numpy in pickles, built from plain bytes by checked code.

numpy's own types trust what a pickle tells them: an address in a file becomes an object, and a type
number out of range is a crash. The stand-ins here take numbers alone, of an exact count of bytes.
"""

from __future__ import annotations

import math
import re

import numpy as np

from common.readers.pickles.vocabulary import (
    Function,
    Unfinished,
    Vocabulary,
    encode,
    printable,
    refusal,
)

_NUMBER = re.compile(r"[iu][1248]|f[248]|b1")
_MAX_DIMENSIONS, _MAX_SIDE = 32, 1 << 48


class _Dtype(Unfinished):
    """A `numpy.dtype` before its byte order is known."""

    def __init__(self, code: str, align: object = False, copy: object = True) -> None:
        if not isinstance(code, str) or not _NUMBER.fullmatch(code):
            raise refusal(f"arrays of type {printable(code)!r} are refused, expected numbers")
        self.code = code

    def finish(self, state: object) -> np.dtype:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "=", "|"):
            raise refusal("the byte order of an array's type is unknown")
        return np.dtype(state[1] + self.code)


class _Array(Unfinished):
    """A `numpy.ndarray` before its contents are known."""

    def finish(self, state: object) -> np.ndarray:
        if not isinstance(state, tuple) or len(state) != 5:
            raise refusal("the contents of an array are damaged")
        _version, shape, dtype, is_fortran, content = state
        return _array(shape, dtype, "F" if is_fortran else "C", content)


def _array(shape: tuple[int, ...], dtype: np.dtype, order: str, content: bytes) -> np.ndarray:
    """A copy of its own of the bytes, which must be exactly those of the shape."""
    if isinstance(content, str):  # how Python 2 spells bytes
        content = encode(content, "latin-1")
    if not isinstance(dtype, np.dtype) or not isinstance(content, (bytes, bytearray)):
        raise refusal("an array has no type or no bytes")
    if not isinstance(shape, tuple) or len(shape) > _MAX_DIMENSIONS or order not in ("C", "F"):
        raise refusal("the shape of an array is damaged")
    if not all(type(side) is int and 0 <= side < _MAX_SIDE for side in shape):
        raise refusal("the shape of an array is damaged")
    needed = math.prod(shape) * dtype.itemsize
    if needed != len(content):
        raise refusal(f"an array of {dtype} needs {needed} bytes, {len(content)} are there")
    if dtype.kind == "b" and content.translate(None, b"\0\1"):
        raise refusal("an array of bool holds other bytes than 0 and 1")
    return np.frombuffer(content, dtype).reshape(shape, order=order).copy(order)


def _reconstruct(subtype: object, shape: object, code: object) -> _Array:
    if subtype is not np.ndarray:
        raise refusal("only plain arrays can be read")
    return _Array()


def _scalar(dtype: np.dtype, content: bytes) -> np.generic:
    return _array((), dtype, "C", content)[()]


def _from_buffer(content: bytes, dtype: np.dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    return _array(shape, dtype, order, content)


_FUNCTIONS: dict[tuple[str, str], Function] = {
    ("multiarray", "_reconstruct"): _reconstruct,
    ("multiarray", "scalar"): _scalar,
    ("numeric", "_frombuffer"): _from_buffer,  # of protocol 5
}

ARRAYS = Vocabulary(
    {
        **{  # numpy 1 and 2
            (f"numpy.{core}.{module}", name): function
            for core in ("core", "_core")
            for (module, name), function in _FUNCTIONS.items()
        },
        ("numpy", "dtype"): np.dtype,
        ("numpy", "ndarray"): np.ndarray,
        ("_codecs", "encode"): encode,
    },
    {**{function: function for function in _FUNCTIONS.values()}, np.dtype: _Dtype, encode: encode},
)
