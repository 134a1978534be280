"""Weight files to state dicts, without executing anything that a file contains.

A file is a safetensors file, a TorchScript archive (as OpenAI publishes CLIP), or what
`torch.save` wrote. TorchScript is read with a restricted unpickler of our own, because
`torch.jit.load` both executes code and is deprecated; the others are read by their libraries.
"""

from __future__ import annotations

import os
import pickle
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

StateDict = dict[str, Tensor]

_STORAGE_DTYPES = {
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
}


def read_state_dict(path: str | os.PathLike) -> StateDict:
    """Read the tensors of a weight file by name.

    Args:
        path: a safetensors file, a TorchScript archive, or a `torch.save` file that holds a state
            dict or `{"state_dict": ...}`.

    Returns:
        Parameter name to tensor, on the CPU, in the precision of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is none of these kinds, is damaged, or asks for code to be executed.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No weight file at {path}.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if _is_torchscript(path):
            return _read_torchscript(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise nearly anything; all of it means this
        reason = (str(error).splitlines() or [""])[0][:200]
        raise ValueError(
            f"Cannot read {path} as weights ({type(error).__name__}: {reason}). Expected a "
            "safetensors file, a TorchScript archive, or a state dict saved with torch.save that "
            "holds tensors only."
        ) from error
    return _unwrap(content, path)


def _unwrap(content: object, path: Path) -> StateDict:
    """Take the state dict out of `{"state_dict": ...}` and drop DataParallel's prefix."""
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(
            f"{path} holds a {type(content).__name__}, expected a dict of parameter name to "
            'tensor, or {"state_dict": that dict}.'
        )
    return {name.removeprefix("module."): value for name, value in content.items()}


# --- TorchScript ------------------------------------------------------------------------------


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


class _ScriptModule:
    """Stands in for every scripted module class: keeps its attributes and does nothing."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.attributes = state


class _TensorsOnly(pickle.Unpickler):
    """Unpickles modules and tensors of a TorchScript archive; refuses every other global."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(archive.open(f"{root}/data.pkl"))
        self._archive, self._root = archive, root
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - pickle's own signature
        if module.startswith("__torch__"):
            return _ScriptModule
        if module == "torch" and name in _STORAGE_DTYPES:
            return _STORAGE_DTYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch.jit._pickle" and (name.startswith("build_") or name.startswith("rest")):
            return _first_argument
        raise pickle.UnpicklingError(f"the archive asks for {module}.{name}, which is refused")

    def persistent_load(self, pid: tuple) -> Tensor:
        _, dtype, key, _, _ = pid
        if key not in self._storages:
            data = bytearray(self._archive.read(f"{self._root}/data/{key}"))
            self._storages[key] = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0)
        return self._storages[key]


def _rebuild_tensor(
    storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> Tensor:
    return torch.as_strided(storage, size, stride, offset)


def _first_argument(value: object, *_: object) -> object:
    return value


def _read_torchscript(path: Path) -> StateDict:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        root = next(n for n in names if n.endswith("/constants.pkl")).rsplit("/", 1)[0]
        if f"{root}/byteorder" in names:
            order = archive.read(f"{root}/byteorder").decode()
            if order != sys.byteorder:
                raise ValueError(f"{path} was written on a {order}-endian machine.")
        module = _TensorsOnly(archive, root).load()
    tensors: StateDict = {}
    _collect(module, "", tensors)
    return tensors


def _collect(module: _ScriptModule, prefix: str, tensors: StateDict) -> None:
    for name, value in module.attributes.items():
        if isinstance(value, Tensor):
            tensors[prefix + name] = value
        elif isinstance(value, _ScriptModule):
            _collect(value, f"{prefix}{name}.", tensors)
