"""Tensors in pickles of torch's, built from bytes that the file really holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from common.readers.pickles.vocabulary import Function, Vocabulary, printable, refusal

_MAX_DIMENSIONS = 64
_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}
_OTHER_TENSORS = {  # names in torch._utils, and what they make
    "_rebuild_sparse_tensor": "a sparse tensor",
    "_rebuild_sparse_csr_tensor": "a sparse tensor",
    "_rebuild_nested_tensor": "a nested tensor",
    "_rebuild_qtensor": "a quantised tensor",
    "_rebuild_meta_tensor_no_storage": "a meta tensor, which has no values",
    "_rebuild_wrapper_subclass": "a tensor of a class of its own",
    "_rebuild_device_tensor_from_numpy": "a tensor of a device without storages",
    "_rebuild_tensor_v3": "a tensor of a rare type of numbers",
}


@dataclass(frozen=True)
class Storage:
    """The memory behind tensors.

    Attributes:
        values: all of it, as one vector.
    """

    values: Tensor


@dataclass
class Storages:
    """The storages of one file, each made when its persistent id is met first.

    Args:
        room: bytes that all of them may have together, which are the file's.
        load: puts the bytes of a key into a uint8 vector, or notes that this is to be done.
    """

    room: int
    load: Callable[[str, torch.dtype, Tensor], None]
    found: dict[str, Storage] = field(default_factory=dict)

    def __call__(self, pid: tuple) -> object:
        """What a persistent id stands for: ("storage", type, key, location, values[, view])."""
        if not isinstance(pid, tuple) or len(pid) < 2:
            raise refusal("it refers to something other than a tensor's storage")
        if pid[0] == "module":  # its class, with its source code for comparison
            return pid[1]
        kind, dtype, key, _location, count, *view = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not isinstance(key, str):
            raise refusal("it refers to something other than a tensor's storage")
        _check_count(count, "a storage's size")
        if key not in self.found:
            self.room -= count * dtype.itemsize
            if self.room < 0:
                raise refusal("its tensors have more bytes than the file")
            content = torch.empty(count * dtype.itemsize, dtype=torch.uint8)
            self.load(key, dtype, content)
            self.found[key] = Storage(content.view(dtype))
        storage = self.found[key]
        if storage.values.dtype != dtype or len(storage.values) != count:
            raise refusal(f"storage {printable(key)} is of two types or sizes")
        return _part(storage, view[0]) if view and view[0] is not None else storage


def _part(storage: Storage, view: tuple[str, int, int]) -> Storage:
    _key, offset, count = view
    _check_count(offset, "a view's offset")
    _check_count(count, "a view's size")
    if offset + count > len(storage.values):
        raise refusal("a view of a storage reaches beyond it")
    return Storage(storage.values[offset : offset + count])


def _check_count(number: object, what: str) -> None:
    if type(number) is not int or not 0 <= number < 1 << 48:
        raise refusal(f"{what} is {printable(number)}, expected a number from 0")


def _tensor(
    storage: Storage,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    requires_grad: bool = False,
    hooks: object = None,
    metadata: object = None,
) -> Tensor:
    if not isinstance(storage, Storage) or metadata:
        raise refusal("a tensor without a storage, or a conjugate or negative view of one")
    if not isinstance(size, tuple) or not isinstance(stride, tuple) or len(size) != len(stride):
        raise refusal("the size and strides of a tensor do not belong together")
    if len(size) > _MAX_DIMENSIONS:
        raise refusal(f"a tensor has more than {_MAX_DIMENSIONS} dimensions")
    for number in (offset, *size, *stride):
        _check_count(number, "a size, stride or offset of a tensor")
    count, there = math.prod(size), len(storage.values)
    last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
    if count and last >= there:
        raise refusal(f"a tensor of size {size} reaches beyond its storage of {there} values")
    if count > there:
        raise refusal(
            f"a tensor of size {size} claims {count} values of a storage of {there}; if it was "
            "meant, save a copy of it (Tensor.contiguous)"
        )
    # Not as_strided, whose results share a counter of versions that in-place changes raise.
    made = torch.empty(0, dtype=storage.values.dtype)
    base = storage.values.storage_offset()
    made.set_(storage.values.untyped_storage(), base + offset if count else base, size, stride)
    return made.requires_grad_() if requires_grad and made.is_floating_point() else made


def _parameter(data: Tensor, requires_grad: bool, hooks: object, *_: object) -> nn.Parameter:
    if not isinstance(data, Tensor):
        raise refusal("a parameter is no tensor")
    return nn.Parameter(data.detach(), bool(requires_grad) and data.is_floating_point())


def _with_attributes(make: Function, kind: object, arguments: tuple, state: object) -> Tensor:
    if make not in (_tensor, _parameter) or not isinstance(arguments, tuple):
        raise refusal("it holds a tensor of a class of its own")
    return make(*arguments)


def _size(sides: tuple[int, ...]) -> torch.Size:
    return torch.Size(sides)


def _device(kind: str, index: int | None = None) -> torch.device:
    return torch.device(kind) if index is None else torch.device(kind, index)


def _refused(what: str) -> Function:
    def refuse(*_: object) -> None:
        raise refusal(f"it holds {what}, expected dense tensors of ordinary numbers")

    return refuse


_MAKERS: dict[tuple[str, str], Any] = {
    **{("torch._utils", name): _refused(what) for name, what in _OTHER_TENSORS.items()},
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _with_attributes,
}

TENSORS = Vocabulary(
    {
        **_MAKERS,
        **{
            ("torch", name): value
            for name, value in vars(torch).items()
            if type(value) is torch.dtype
        },
        **{("torch", name): dtype for name, dtype in _STORAGES.items()},
        ("torch", "Size"): torch.Size,
        ("torch", "device"): torch.device,
    },
    {**{make: make for make in _MAKERS.values()}, torch.Size: _size, torch.device: _device},
)
