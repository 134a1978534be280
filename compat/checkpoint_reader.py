"""Read a checkpoint without executing anything that is stored in it.

Files written by today's code hold tensors, numbers and plain containers and open with
`weights_only=True`. Older ones also hold pickled objects (Dassl used to store whole learning-rate
schedulers); for these a restricted unpickler rebuilds tensors and containers, and turns every
other object into an inert `Placeholder` whose attributes can be read.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from typing import IO, Any

import torch

_CONTAINERS = "bool bytearray bytes complex dict float frozenset int list set str tuple"
_SAFE_GLOBALS = {
    "_codecs": {"encode"},
    "builtins": set(_CONTAINERS.split()),
    "collections": {"Counter", "OrderedDict", "defaultdict", "deque"},
    "numpy": {"dtype", "ndarray"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},  # numpy 1
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "torch": {"Size", "device"}
    | {name for name, value in vars(torch).items() if isinstance(value, torch.dtype)},
    "torch._utils": {"_rebuild_parameter", "_rebuild_tensor", "_rebuild_tensor_v2"},
}
# These are written in Python, so that a file could set attributes on them: it gets copies.
_MUTABLE = {"Counter", *_SAFE_GLOBALS["torch._utils"]}


class Placeholder:
    """Stands for a pickled object that is not rebuilt: keeps its attributes, runs nothing."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        """Take and forget whatever the pickled constructor call was given."""

    def __new__(cls, *args: object, **kwargs: object) -> Placeholder:
        """Accept any arguments, as pickle may call `__new__` with them."""
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Keep the attributes of the original; a state that is not a dict is dropped."""
        if isinstance(state, dict):
            vars(self).update(state)

    def _ignore(self, *args: object) -> None:
        """Items of list-like and dict-like originals are dropped."""

    append = extend = add = __setitem__ = _ignore


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., object]:
        # Files of Python 2 spell it __builtin__; the base class translates it, too.
        if name not in _SAFE_GLOBALS.get(module.replace("__builtin__", "builtins"), ()):
            return type(name.rpartition(".")[2], (Placeholder,), {"__module__": module})
        found = super().find_class(module, name)
        return (lambda *args: found(*args)) if name in _MUTABLE else found


class _RestrictedPickle:
    """What `torch.load` asks of its `pickle_module`."""

    __name__ = "restricted_pickle"
    Unpickler = _Unpickler

    @staticmethod
    def load(file: IO[bytes], **options: object) -> object:
        return _Unpickler(file, **options).load()


def load_checkpoint(fpath: str) -> dict[str, Any]:
    """Read what `torch.save` wrote to `fpath`, its tensors on the CPU.

    Args:
        fpath: Checkpoint file, in the zip format of torch or the older one.

    Returns:
        What was stored, a dict as a rule. Objects other than tensors, numbers, strings and plain
        containers come back as `Placeholder`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: `fpath` is None, or a TorchScript archive, which is a program.
        pickle.UnpicklingError: The file is damaged or of another format.
    """
    if fpath is None:
        raise ValueError("File path is None")
    if not os.path.exists(fpath):
        raise FileNotFoundError(f'File is not found at "{fpath}"')
    if _is_torchscript(fpath):
        raise ValueError(
            f'"{fpath}" is a TorchScript archive, expected a checkpoint written by torch.save.'
        )
    try:
        return torch.load(fpath, map_location="cpu", weights_only=True)
    except Exception:  # of several types; the second reading says what is wrong, if anything is
        pass
    try:
        return torch.load(
            fpath, map_location="cpu", pickle_module=_RestrictedPickle, weights_only=False
        )
    except Exception as error:  # a damaged file can fail in any of its parts
        print(f'Unable to load checkpoint from "{fpath}"')
        raise pickle.UnpicklingError(
            f'"{fpath}" is not a readable checkpoint ({error}). Was it cut off while being copied?'
        ) from error


def saved_state(saved: dict | Placeholder | object) -> dict:
    """State dict of a scheduler that was saved as a dict, or by older code as an object."""
    state = saved if isinstance(saved, dict) else vars(saved)
    return {key: value for key, value in state.items() if key != "optimizer"}


def _is_torchscript(fpath: str) -> bool:
    if not zipfile.is_zipfile(fpath):
        return False
    with zipfile.ZipFile(fpath) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
