"""Write checkpoints as Dassl lays them out: whole, durable, and never with weights that are lost.

Both cores use it: the built-in one as its own, an installed Dassl as a repair.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from common.files import replacing, write_text


def save_checkpoint(
    state: dict[str, Any],
    save_dir: str,
    is_best: bool = False,
    remove_module_from_keys: bool = True,
    model_name: str = "",
) -> None:
    """Write a checkpoint, then its name into the file `checkpoint` beside it.

    Args:
        state: holds at least `state_dict` and `epoch`, the number of epochs done.
        save_dir: folder, made if missing.
        is_best: also copy it to `model-best.pth.tar`.
        remove_module_from_keys: strip the "module." that DataParallel puts before names.
        model_name: file name; `model.pth.tar-<epoch>` by default.

    Raises:
        FloatingPointError: a weight is infinite or NaN; nothing is written.
        OSError: the folder cannot be written to, or the disk is full; what was there remains.
    """
    if remove_module_from_keys:
        state = {**state, "state_dict": without_module(state["state_dict"])}
    path = os.path.join(save_dir, model_name or f"model.pth.tar-{state['epoch']}")
    _refuse_lost_weights(state, path)
    _save(state, path)
    print(f"Checkpoint saved to {path}")
    point_to(path)
    if is_best:
        best_path = os.path.join(save_dir, "model-best.pth.tar")
        with replacing(best_path) as temporary:
            shutil.copy(path, temporary)
        print(f'Best checkpoint saved to "{best_path}"')


def point_to(path: str | os.PathLike[str]) -> None:
    """Write a checkpoint's name into the file `checkpoint` beside it, as Dassl does."""
    folder, name = os.path.split(path)
    write_text(os.path.join(folder, "checkpoint"), f"{name}\n")


def without_module(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without the "module." that DataParallel puts before its names."""
    return {name.removeprefix("module."): tensor for name, tensor in state_dict.items()}


def _save(state: dict[str, Any], path: str) -> None:
    try:
        with replacing(path) as temporary:
            torch.save(state, temporary)
    except RuntimeError as error:  # torch's own writer: of a full disk it only says that it failed
        free = shutil.disk_usage(os.path.dirname(path) or ".").free
        raise OSError(
            f"{path} cannot be written ({str(error).splitlines()[0]}); {free / 2**20:.0f} MiB are "
            "free there. The checkpoints of earlier epochs are untouched: make room, and the same "
            "command goes on."
        ) from error


def _refuse_lost_weights(state: dict[str, Any], path: str) -> None:
    for name, value in state["state_dict"].items():
        if isinstance(value, Tensor) and value.is_floating_point():
            if not bool(torch.isfinite(value).all()):
                raise FloatingPointError(
                    f"{name} is infinite or NaN after epoch {state['epoch']}, so {path} is not "
                    "written and earlier checkpoints stay. A batch of this epoch had a finite loss "
                    "and an infinite step: lower OPTIM.LR, or train in PREC fp32."
                )
