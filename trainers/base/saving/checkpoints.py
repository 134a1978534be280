"""The checkpoints of a run: which there are, what is in them, and whether they belong here.

Beside Dassl's entries a checkpoint holds `run`: which trainer, CLIP, classes and options it comes
from, how its epoch was chosen, and the seconds spent so far. Files of CoOp, of Dassl and of earlier
versions lack it and are read all the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from dassl.utils import load_checkpoint
from torch import Tensor, nn

from common.config.former_spellings import renamed
from compat.checkpoint_writer import point_to

BEST = "model-best.pth.tar"
_NUMBERED = re.compile(r"model\.pth\.tar-(\d+)")
_SHOWN = 4  # differences named in a message
# CoOp stores the class names' embeddings too; ours come from the class names at hand.
_DERIVED = ("token_prefix", "token_suffix")
_RENAMED = {"ctx_evid": "ctx_evidence"}  # tensors of earlier versions, and their names today


class Checkpoints:
    """The checkpoints of one model in an output folder.

    Args:
        output: a run's folder.
        model: the registered name, which is the subfolder's.
    """

    def __init__(self, output: str | Path, model: str) -> None:
        self.folder = Path(output, model)

    def epochs(self) -> dict[int, Path]:
        """Numbered checkpoints by epochs done, in ascending order."""
        files = self.folder.iterdir() if self.folder.is_dir() else []
        found = {int(m[1]): path for path in files if (m := _NUMBERED.fullmatch(path.name))}
        return dict(sorted(found.items()))

    def find(self, epoch: int | None) -> Path:
        """The checkpoint of an epoch; without one the best, or else the newest.

        Raises:
            FileNotFoundError: there is none; the message lists what is there.
        """
        numbered = self.epochs()
        best = self.folder / BEST
        if epoch is not None:
            path = numbered.get(epoch)
        elif best.is_file():
            path = best
        else:
            path = next(reversed(numbered.values()), None)
        if path is None:
            wanted = "checkpoint" if epoch is None else f"checkpoint of epoch {epoch}"
            has = f"It has epochs {', '.join(map(str, numbered))}." if numbered else "It has none."
            raise FileNotFoundError(f"No {wanted} in {self.folder}. {has}")
        return path

    def best(self) -> dict[str, Any] | None:
        """What the best checkpoint holds, if there is one."""
        path = self.folder / BEST
        return load_checkpoint(str(path)) if path.is_file() else None

    def best_metric(self) -> float:
        """The watched metric of the best checkpoint, in percent; -inf without one."""
        best = self.best()
        return -math.inf if best is None else best["val_result"]

    def resume_point(self) -> tuple[Path, dict[str, Any]] | None:
        """The checkpoint with most epochs done and what it holds, or None.

        That is the best one if the run was stopped before the same epoch's numbered one.
        """
        numbered, best = self.epochs(), self.best()
        last = max(numbered, default=0)
        if best is not None and best["epoch"] > last:
            return self.folder / BEST, best
        return (numbered[last], load_checkpoint(str(numbered[last]))) if numbered else None

    def complete(self, done: int, save: Callable[[], None]) -> None:
        """Make up for what a kill cut short after an epoch: its numbered file, the pointer to it.

        Args:
            done: epochs done.
            save: writes the numbered checkpoint.
        """
        if done not in self.epochs():  # stopped between the best one and this one
            save()
        point_to(self.find(done))  # stopped between writing it and naming it
        self.keep_newest(done)

    def keep_newest(self, last: int) -> None:
        """Remove checkpoints before epoch `last` that were kept for resuming alone."""
        for epoch, path in self.epochs().items():
            if epoch < last:
                run = load_checkpoint(str(path)).get("run")
                if run and run.get("resume_only"):
                    path.unlink(missing_ok=True)


def how_chosen(path: Path, checkpoint: Mapping[str, Any]) -> str:
    """The rule by which a checkpoint's epoch was chosen, for the results."""
    run = checkpoint.get("run")
    if run is None:
        return "unknown"
    if path.name == BEST:
        return run["selection"]
    done = checkpoint["epoch"]
    return "last_step" if done == run["max_epoch"] else f"epoch_{done}"


def learnt(path: Path, checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The trained tensors of a checkpoint.

    Args:
        path: where it lies, for the message.
        checkpoint: what it holds.

    Raises:
        ValueError: it holds no dict of tensors as `state_dict`.
    """
    state = checkpoint.get("state_dict")
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise ValueError(f"{path} holds no state_dict of tensors; it is no checkpoint of a run.")
    return {_RENAMED.get(name, name): t for name, t in state.items() if name not in _DERIVED}


def check_tensors(path: Path, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Refuse a checkpoint whose tensors are not those of the model.

    Args:
        path: the checkpoint, for the message.
        found: its tensors.
        expected: those that are to be loaded.

    Raises:
        ValueError: names, shapes or kinds of numbers differ, or a value is infinite or NaN; the
            message tells the first differences.
    """
    there, here = ({name: _kind(t) for name, t in d.items()} for d in (found, expected))
    differing = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    if differing:
        lines = [
            f"  {name}: {there.get(name, 'none')} there, {here.get(name, 'none')} here"
            for name in differing[:_SHOWN]
        ]
        more = f"\n  and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
        raise ValueError(
            f"{path} is of another method, of other options or of other classes:\n"
            + "\n".join(lines)
            + f"{more}\nUse the options of its run; they are in its log.txt and config.yaml."
        )
    for name, tensor in found.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{path} holds infinite or NaN values in {name}; it is of no use.")


def _kind(tensor: Tensor) -> str:
    """Shape, and the kind of numbers where they are not floating: "(16, 512)", "(4,) int64"."""
    shape = str(tuple(tensor.shape))
    return shape if tensor.is_floating_point() else f"{shape} {tensor.dtype}".replace("torch.", "")


def check_origin(path: Path, run: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Refuse a checkpoint of another trainer or CLIP; tell what else differs.

    Args:
        path: the checkpoint, for the message.
        run: what it says about its run.
        here: the same of the run at hand.

    Returns:
        Lines about differences that may be meant: other class names, other options.

    Raises:
        ValueError: it belongs to another trainer, another CLIP, or, where what was learnt is one
            row for each class, to other classes.
    """
    if run["trainer"] != here["trainer"]:
        raise ValueError(
            f"{path} was trained by {run['trainer']}, not by {here['trainer']}; "
            f"use --trainer {run['trainer']}."
        )
    node = f"TRAINER.{run['trainer'].upper()}."
    there = {renamed(node + key)[len(node) :]: value for key, value in run["options"].items()}
    now = here["options"]
    # Weights are digested as they are loaded, which is in the run's precision.
    comparable = there.get("PREC") == now.get("PREC")
    if comparable and run["clip"] != here["clip"]:
        raise ValueError(
            f"{path} was trained on another CLIP: {run['backbone']} there, {here['backbone']} "
            "here, and their weights differ. Use the backbone of its run (--backbone)."
        )
    notes = []
    difference = first_difference(run["classnames"], here["classnames"])
    if difference and here["class_specific"]:
        raise ValueError(
            f"{path} holds a part of its own for each class, and its classes are others: "
            f"{difference}. Use the class names and options of its run."
        )
    if difference:
        notes.append(
            f"Note: that run's classes are {', '.join(run['classnames'][:3])}, ...; those here are "
            f"{', '.join(here['classnames'][:3])}, .... What all classes share still fits."
        )
    changed = [
        f"{key} {there.get(key)!r} there, {now.get(key)!r} here"
        for key in {**there, **now}
        if there.get(key) != now.get(key)
    ]
    if changed:
        notes.append(f"Note: that run's options are others: {'; '.join(changed)}.")
    if not comparable:
        notes.append(
            "Note: in another precision CLIP's weights cannot be compared with that run's."
        )
    return notes


def first_difference(there: Sequence[str], here: Sequence[str]) -> str:
    """The first difference of two lists of class names, in words; "" if there is none."""
    if len(there) != len(here):
        return f"{len(there)} classes there, {len(here)} here"
    for index, (old, new) in enumerate(zip(there, here, strict=True)):
        if old != new:
            return f"class {index} is {old!r} there, {new!r} here"
    return ""


def load_into(
    module: nn.Module, path: Path, checkpoint: Mapping[str, Any], here: Mapping[str, Any]
) -> None:
    """Put a checkpoint's tensors into a module if they belong there.

    Args:
        module: changed in place.
        path: the checkpoint, for messages.
        checkpoint: what it holds.
        here: what a checkpoint of the run at hand says of itself; see `check_origin`.

    Raises:
        ValueError: it belongs to another trainer, CLIP, options or classes.
    """
    run = checkpoint.get("run")
    if run is None:
        print(
            f"{path} does not say which trainer, CLIP, class names and selection it comes "
            "from; the names and shapes of its tensors are all that is checked."
        )
    else:
        for note in check_origin(path, run, here):
            print(note)
    tensors = learnt(path, checkpoint)
    check_tensors(path, tensors, module.state_dict())
    module.load_state_dict(tensors)
