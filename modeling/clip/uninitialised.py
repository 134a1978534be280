"""Modules without random initial weights, for those that are loaded right after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

# Of `torch.nn.init`, and of tensors themselves.
_RANDOM = {"normal_", "uniform_", "trunc_normal_", "kaiming_uniform_", "kaiming_normal_"}
_RANDOM |= {"xavier_uniform_", "xavier_normal_"}


class Uninitialised(TorchFunctionMode):
    """Context in which a new module's random weights stay whatever its memory held.

    Drawing them takes longer than loading the real ones: half of what it takes to build a CLIP.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the function returns
        """Leave a tensor as it is where a function would fill it with random numbers."""
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in _RANDOM:
            tensor: Tensor = args[0] if args else kwargs["tensor"]
            return tensor
        return func(*args, **kwargs)
