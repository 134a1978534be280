"""Read a checkpoint without executing anything that is stored in it.

Files written by today's code hold tensors, numbers and plain containers. Older ones also hold
pickled objects (Dassl used to store whole learning-rate schedulers); each of these becomes an inert
`Placeholder` whose attributes can be read.
"""

from __future__ import annotations

import os
import pickle
from typing import Any

from common.readers.pickles.arrays import ARRAYS
from common.readers.pickles.tensors import TENSORS
from common.readers.pickles.vocabulary import PLAIN, Placeholder, Vocabulary
from common.readers.torch_files import is_torchscript, read_torch_file

_OBJECTS = Vocabulary({}, {}, placeholders=("",))
_CHECKPOINT = PLAIN.plus(ARRAYS).plus(TENSORS).plus(_OBJECTS)


def load_checkpoint(fpath: str) -> dict[str, Any]:
    """Read what `torch.save` wrote to `fpath`, its tensors on the CPU.

    What a file may hold, and the limits that follow from its size, are those of
    `common.readers.torch_files` and `common.readers.pickles.machine`.

    Args:
        fpath: checkpoint file, in the zip format of torch or the older one.

    Returns:
        What was stored. Objects other than tensors, numbers, strings, arrays of
        numbers and plain containers come back as `Placeholder`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: `fpath` is None, or a TorchScript archive, which is a program.
        pickle.UnpicklingError: the file is damaged, of another format, or beyond the limits, or
            holds something other than a dict.
    """
    if fpath is None:
        raise ValueError("File path is None")
    if not os.path.exists(fpath):
        raise FileNotFoundError(f'File is not found at "{fpath}"')
    if is_torchscript(fpath):
        raise ValueError(
            f'"{fpath}" is a TorchScript archive, expected a checkpoint written by torch.save.'
        )
    try:
        found = read_torch_file(fpath, _CHECKPOINT)
    except pickle.UnpicklingError as error:
        print(f'Unable to load checkpoint from "{fpath}"')
        raise pickle.UnpicklingError(
            f'"{fpath}" is not a readable checkpoint ({error}). Was it cut off or damaged while '
            "being copied? Copy it again, or use another epoch's."
        ) from error
    if not isinstance(found, dict):
        raise pickle.UnpicklingError(
            f'"{fpath}" holds a {type(found).__name__}, expected the dict of a checkpoint.'
        )
    return found


def saved_state(saved: dict | Placeholder | object) -> dict:
    """State dict of a scheduler that was saved as a dict, or by older code as an object."""
    state = saved if isinstance(saved, dict) else vars(saved)
    return {key: value for key, value in state.items() if key != "optimizer"}
