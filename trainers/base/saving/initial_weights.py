"""MODEL.INIT_WEIGHTS: start a learner from a file that holds all of it, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dassl.utils import load_checkpoint
from torch import Tensor, nn

from common.readers.pickles.vocabulary import printable
from modeling.tuning.towers import PARTS
from trainers.base.saving.checkpoints import check_tensors

_NAMED = 3  # tensors of each kind in a message
# A tuned tower is CLIP's own until a file says otherwise.
_START_AS_CLIP = tuple(f"{part}." for part in PARTS.values())


def load_initial_weights(learner: nn.Module, path: str) -> None:
    """Put the tensors of a file into a learner, which must find all of its own there.

    Tensors that the learner does not have, such as the word embeddings in CoOp's checkpoints, are
    left out, with a line that names them. A tower that the file lacks stays CLIP's, so that a
    fine-tuning can start from a linear probe.

    Args:
        learner: changed in place.
        path: a checkpoint with a `state_dict`, or a plain state dict.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file lacks a tensor of the learner, or has it in another shape or kind of
            numbers, or with infinite or NaN values.
        pickle.UnpicklingError: the file is damaged.
    """
    content = load_checkpoint(path)
    saved = content.get("state_dict", content)
    if not isinstance(saved, dict):
        raise ValueError(
            f"MODEL.INIT_WEIGHTS: the state_dict of {path} is a {type(saved).__name__}, expected a "
            "dict of tensors."
        )
    tensors = {
        str(name).removeprefix("module."): value
        for name, value in saved.items()
        if isinstance(value, Tensor)
    }
    wanted = learner.state_dict()
    for part in _START_AS_CLIP:
        if not any(name.startswith(part) for name in tensors):
            wanted = {name: value for name, value in wanted.items() if not name.startswith(part)}
    missing = [name for name in wanted if name not in tensors]
    unknown = [name for name in tensors if name not in wanted]
    matching = {name: tensors[name] for name in wanted if name in tensors}
    reshaped = [name for name in matching if tensors[name].shape != wanted[name].shape]
    if missing or reshaped:
        shapes = [
            f"{name} {tuple(tensors[name].shape)} there, {tuple(wanted[name].shape)} here"
            for name in reshaped
        ]
        parts = [
            _count("missing", missing),
            _count("of another shape", shapes),
            _count("unknown to this trainer", unknown),
        ]
        raise ValueError(
            f"MODEL.INIT_WEIGHTS: {path} does not hold what this trainer starts from: "
            f"{'; '.join(part for part in parts if part)}. Use a checkpoint of the same trainer "
            "and options, or leave MODEL.INIT_WEIGHTS empty."
        )
    check_tensors(Path(path), matching, {name: wanted[name] for name in matching})
    learner.load_state_dict(matching, strict=False)
    print(f"Successfully loaded pretrained weights from {path}")
    if unknown:
        print(f"Layers discarded due to unmatched keys or size: {unknown}")


def _count(what: str, names: Sequence[str]) -> str:
    """Words such as "2 tensors missing (a, b)"; none for none."""
    if not names:
        return ""
    more = ", ..." if len(names) > _NAMED else ""
    plural = "" if len(names) == 1 else "s"
    shown = ", ".join(printable(name) for name in names[:_NAMED])
    return f"{len(names)} tensor{plural} {what} ({shown}{more})"
