"""Weight files to state dicts, without executing anything that a file contains.

A file is a safetensors file, a TorchScript archive (as OpenAI publishes CLIP), or what
`torch.save` wrote. The first is read by its library, the others as data: of a TorchScript archive,
which is a program, the weights alone.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from common.readers.pickles.arrays import ARRAYS
from common.readers.pickles.tensors import TENSORS
from common.readers.pickles.vocabulary import (
    PLAIN,
    Function,
    Placeholder,
    Vocabulary,
    printable,
    refusal,
)
from common.readers.safetensors_files import open_safetensors
from common.readers.torch_files import is_torchscript, read_torch_file

StateDict = dict[str, Tensor]

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_MAX_MODULES, _MAX_NAME = 10_000, 1000  # of a TorchScript archive; CLIP's largest has 1,600


def _first(value: object, *_: object) -> object:
    """What TorchScript wraps lists of numbers in; the rest tells their type."""
    return value


_LISTS = ("intlist", "doublelist", "boollist", "tensorlist")
_SCRIPT_FUNCTIONS: dict[tuple[str, str], Function] = {
    ("torch.jit._pickle", name): _first
    for name in (*(f"build_{kind}" for kind in _LISTS), "restore_type_tag")
}
# Modules of TorchScript archives are placeholders, and so is nothing else.
_SCRIPTED = Vocabulary(_SCRIPT_FUNCTIONS, {_first: _first}, placeholders=("__torch__",))
_WEIGHTS = PLAIN.plus(ARRAYS).plus(TENSORS).plus(_SCRIPTED)


def read_state_dict(path: str | os.PathLike) -> StateDict:
    """Read the tensors of a weight file by name.

    What a file of torch's may hold, and the limits that follow from its size, are those of
    `common.readers.torch_files`.

    Args:
        path: a safetensors file, a TorchScript archive, or a `torch.save` file that holds a state
            dict, alone or as "state_dict" or "model" of a dict.

    Returns:
        Parameter name to tensor, on the CPU, in the precision of the file.

    Raises:
        OSError: there is no such file, or it is no regular one.
        ValueError: the file is none of these kinds, is damaged, or asks for code to be executed.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"No weight file at {path}.")
    try:
        if path.suffix == ".safetensors":
            with open_safetensors(path) as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        content = read_torch_file(path, _WEIGHTS)
        if is_torchscript(path):
            return _scripted_tensors(content)
    except (pickle.UnpicklingError, SafetensorError, KeyError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0][:200]
        raise ValueError(
            f"Cannot read {path} as weights ({reason}). Expected a safetensors file, a TorchScript "
            "archive, or a state dict saved with torch.save that holds tensors only."
        ) from error
    return _unwrap(content, path)


def check_numbers(tensors: Mapping[str, Tensor], path: str | os.PathLike) -> None:
    """Refuse weights that no model can compute with.

    Args:
        tensors: parameter name to tensor.
        path: where they came from, for the message.

    Raises:
        ValueError: one holds something other than floating-point numbers, or infinite or NaN ones.
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in _FLOATS:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ValueError(
                f"{path} holds {kind} numbers in {printable(name)}, expected float16, bfloat16, "
                "float32 or float64. Quantised weights must be converted back to floating point."
            )
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(
                f"{path} holds infinite or NaN values in {printable(name)}; it is damaged or comes "
                "from a training that diverged. Get it again, or use another one."
            )


def _unwrap(content: object, path: Path) -> StateDict:
    """Take the state dict out of the dict of a checkpoint."""
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise ValueError(
            f"{path} holds a {type(content).__name__}, expected a dict of parameter name to "
            'tensor, or {"state_dict": that dict}, or {"model": that dict}.'
        )
    return dict(content)


def _scripted_tensors(root: object) -> StateDict:
    """Parameters, buffers and constants of a scripted module, by their names in it."""
    tensors: StateDict = {}
    waiting, modules = [("", root)], 0
    while waiting:
        prefix, module = waiting.pop()
        modules += 1
        if modules > _MAX_MODULES or len(prefix) > _MAX_NAME:
            raise refusal("its modules are too many, or hold one another")
        for name, value in vars(module).items():
            if isinstance(value, Tensor):
                tensors[prefix + name] = value
            elif isinstance(value, Placeholder):
                waiting.append((f"{prefix}{name}.", value))
    return tensors
