"""Four repairs of an installed Dassl, each applied only if a probe shows that it is needed."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler, StepLR

from compat.checkpoint_reader import load_checkpoint, saved_state
from compat.checkpoint_writer import save_checkpoint


def repair_stock() -> list[str]:
    """Repair the imported Dassl in place.

    Returns:
        Names of the repairs that were needed.
    """
    from dassl.optim import lr_scheduler
    from dassl.utils import torchtools

    done = []
    if not _warmup_can_be_built(lr_scheduler):
        lr_scheduler._BaseWarmupScheduler.__init__ = _warmup_init
        done.append("warm-up constructor")
    if not _warmup_state_is_plain(lr_scheduler):
        lr_scheduler._BaseWarmupScheduler.state_dict = _warmup_state_dict
        lr_scheduler._BaseWarmupScheduler.load_state_dict = _warmup_load_state_dict
        done.append("warm-up state")
    if not _reads_old_checkpoints_safely(torchtools.load_checkpoint):
        _replace_everywhere(torchtools.load_checkpoint, load_checkpoint)
        done.append("checkpoint reading")
    if not _writes_whole_checkpoints(torchtools.save_checkpoint):
        _replace_everywhere(torchtools.save_checkpoint, save_checkpoint)
        done.append("checkpoint writing")
    return done


# Since torch 2.7 schedulers take no `verbose`, which Dassl passes on.


def _build_warmup(lr_scheduler: ModuleType) -> LRScheduler:
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    return lr_scheduler.ConstantWarmupScheduler(optimizer, StepLR(optimizer, 1), 1, 1e-5)


def _warmup_can_be_built(lr_scheduler: ModuleType) -> bool:
    try:
        _build_warmup(lr_scheduler)
    except TypeError:
        return False
    return True


def _warmup_init(
    self: LRScheduler,
    optimizer: Optimizer,
    successor: LRScheduler,
    warmup_epoch: int,
    last_epoch: int = -1,
    verbose: bool = False,
) -> None:
    self.successor = successor
    self.warmup_epoch = warmup_epoch
    LRScheduler.__init__(self, optimizer, last_epoch)


# Dassl saves the successor as an object together with its optimiser. After resuming, that copy of
# the optimiser is stepped, and the learning rate of the real one stands still.


def _warmup_state_is_plain(lr_scheduler: ModuleType) -> bool:
    return isinstance(_build_warmup(lr_scheduler).state_dict()["successor"], dict)


def _warmup_state_dict(self: LRScheduler) -> dict[str, Any]:
    return {**LRScheduler.state_dict(self), "successor": self.successor.state_dict()}


def _warmup_load_state_dict(self: LRScheduler, state_dict: dict[str, Any]) -> None:
    state = saved_state(state_dict)
    self.successor.load_state_dict(saved_state(state.pop("successor")))
    LRScheduler.load_state_dict(self, state)


# Since torch 2.6 files with objects in them are refused; before, they were executed.


class _Canary:
    """Notices when it is unpickled as an object."""

    flown = False

    def __setstate__(self, state: dict) -> None:
        _Canary.flown = True


def _reads_old_checkpoints_safely(reader: Callable[[str], Any]) -> bool:
    _Canary.flown = False
    canary = _Canary()
    canary.state = "kept, as an empty state would not be restored"
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        path = os.path.join(folder, "canary")
        torch.save({"epoch": 1, "scheduler": canary}, path)
        try:
            reader(path)
        except Exception:  # whatever it is, such files are not read
            return False
    return not _Canary.flown


# Dassl writes into the file itself, so that a kill leaves half of one under its name.


class _Unsaveable:
    """Makes a writer fail half-way."""

    def __reduce__(self) -> tuple:
        raise ValueError("on purpose")


def _writes_whole_checkpoints(writer: Callable[..., None]) -> bool:
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        for rest in ({}, {"scheduler": _Unsaveable()}):
            with contextlib.suppress(ValueError):
                writer({"state_dict": {}, "epoch": 1, **rest}, folder)
        try:
            torch.load(os.path.join(folder, "model.pth.tar-1"), weights_only=True)
        except Exception:  # of several types: half a file
            return False
    return True


def _replace_everywhere(old: Callable, new: Callable) -> None:
    """Replace a function in every module that has imported it by name.

    In Dassl these are dassl.utils.torchtools, dassl.utils and dassl.engine.trainer; a trainer
    imported earlier may hold it too.
    """
    for module in list(sys.modules.values()):
        for name, value in list(vars(module).items() if hasattr(module, "__dict__") else ()):
            if value is old:
                setattr(module, name, new)
