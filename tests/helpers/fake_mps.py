"""A stand-in for Apple's GPU: tensors of the CPU that say they lie on "mps", and refuse float64.

It computes on the CPU. What it shows is that no operation gets tensors of both, which no GPU of any
make allows, and that none of the device's tensors is float64, which Apple's GPUs do not have. It
says nothing of which operations torch has for them, nor of their results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

MPS = torch.device("mps")
_TAKE_BOTH = {Tensor.copy_, Tensor.__getitem__, Tensor.__setitem__}  # on every device


class MpsTensor(Tensor):
    """A tensor that says it lies on Apple's GPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # FakeMps does what it would do

    @property
    def device(self) -> torch.device:
        """Apple's GPU."""
        return MPS

    def __reduce_ex__(self, protocol: int) -> tuple[Any, ...]:
        """Saved as a tensor of the CPU."""
        with torch._C.DisableTorchFunction():
            return self.as_subclass(Tensor).__reduce_ex__(protocol)


class FakeMps(TorchFunctionMode):
    """While it is on, `device="mps"` works.

    Attributes:
        calls: functions that were given a tensor of the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is Tensor.cpu:
            return _moved(args[0], "cpu")
        if func is Tensor.to:
            return _moved(*args, **kwargs)
        if func is torch._has_compatible_shallow_copy_type:  # asked as a module moves
            return func(*args) and type(args[0].data) is type(args[1].data)
        if _is_mps(kwargs.get("device")):
            return _on_mps(func(*args, **{**kwargs, "device": "cpu"}))
        given = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        if not any(isinstance(tensor, MpsTensor) for tensor in given):
            return func(*args, **kwargs)
        self.calls += 1
        foreign = [t for t in given if not isinstance(t, MpsTensor) and t.dim() > 0]
        if foreign and func not in _TAKE_BOTH:
            raise RuntimeError(f"{func.__name__} got tensors on mps and on {foreign[0].device}")
        return tree_map_only(Tensor, _on_mps, func(*args, **kwargs))


@contextmanager
def fake_mps() -> Iterator[FakeMps]:
    """Have torch find Apple's GPU."""
    future = torch.__future__
    before = future.get_overwrite_module_params_on_conversion()
    future.set_overwrite_module_params_on_conversion(True)  # a moved parameter is of another class
    try:
        with patch("torch.backends.mps.is_available", lambda: True), FakeMps() as mode:
            yield mode
    finally:
        future.set_overwrite_module_params_on_conversion(before)


def _is_mps(value: object) -> bool:
    return isinstance(value, (str, torch.device)) and torch.device(value).type == "mps"


def _on_mps(tensor: Tensor) -> Tensor:
    if tensor.dtype is torch.float64:
        raise TypeError("MPS has no float64")
    return tensor if isinstance(tensor, MpsTensor) else tensor.as_subclass(MpsTensor)


def _moved(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """`Tensor.to`, which takes a device, a dtype, both, or a tensor that has both."""
    if args and isinstance(args[0], Tensor):
        args = (args[0].device, args[0].dtype, *args[1:])
    named = [
        value for value in (*args, kwargs.get("device")) if isinstance(value, (str, torch.device))
    ]
    target = torch.device(named[0]) if named else tensor.device
    args = tuple("cpu" if _is_mps(value) else value for value in args)
    kwargs = {name: "cpu" if _is_mps(value) else value for name, value in kwargs.items()}
    moved = Tensor.to(tensor, *args, **kwargs)
    if target == MPS:
        return _on_mps(moved)
    return moved.clone().as_subclass(Tensor) if isinstance(tensor, MpsTensor) else moved
