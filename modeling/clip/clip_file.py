"""A CLIP as a file gives it: tensors in OpenAI's names, and what the tensors do not tell."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from common.choices import check_choice
from common.readers.pickles.vocabulary import printable
from common.readers.torch_files import is_torchscript
from modeling.clip.architecture import ACTIVATIONS, VOCABULARY, Architecture, Sizes, sizes_of
from modeling.clip.configs import ClipConfig, config_beside
from modeling.clip.formats import (
    FORMATS,
    Format,
    is_openais_archive,
    openai_names,
    recognise,
    unwrapped,
)
from modeling.clip.weight_files import StateDict, check_numbers, read_state_dict

AUTO = "auto"
ACTIVATION = "MODEL.BACKBONE.ACTIVATION"
_WEIGHT_NAMES = (  # open_clip's first: beside it, `model.safetensors` may be timm's image tower
    "open_clip_model.safetensors",
    "model.safetensors",
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin",
)
_MAX_WIDTH = 2048  # of a token's embedding; CLIP's widest has 1280
_WIDEST = 1024  # image towers up to here have heads of 64 channels in all published CLIPs


@dataclass(frozen=True)
class ClipFile:
    """What a weight file and the config beside it say of a CLIP.

    Attributes:
        state_dict: OpenAI's parameter names to tensors.
        architecture: what they do not tell.
        note: a line for the log; empty for OpenAI's own files.
    """

    state_dict: StateDict
    architecture: Architecture
    note: str = ""


def weights_in(folder: Path) -> Path:
    """The weight file of a folder as Hugging Face's hub has them.

    Raises:
        ValueError: there is none.
    """
    for name in _WEIGHT_NAMES:
        if (folder / name).is_file():
            return folder / name
    parts = sorted(path.name for path in folder.glob("*-of-*"))
    hint = f" It has parts such as {parts[0]}, which must be joined first." if parts else ""
    raise ValueError(f"The folder {folder} holds none of {', '.join(_WEIGHT_NAMES)}.{hint}")


def read_clip(
    path: str | os.PathLike[str], activation: str = AUTO, config: ClipConfig | None = None
) -> ClipFile:
    """Read a CLIP in any of the known formats, and what the config beside it says.

    Args:
        path: the weight file; see `read_state_dict` for kinds, `FORMATS` for names.
        activation: MODEL.BACKBONE.ACTIVATION: one of `ACTIVATIONS`, or "auto", which the file must
            tell: one of OpenAI's archives, or a config beside it.
        config: in place of one beside the file.

    Raises:
        OSError: there is no such file.
        ValueError: it cannot be read, holds no CLIP that can be used, or does not tell its
            activation or its heads.
    """
    check_choice(ACTIVATION, activation, (AUTO, *ACTIVATIONS))
    path = Path(path)
    state_dict = unwrapped(read_state_dict(path))
    is_tiny = "token_embedding.rows" in state_dict
    if is_tiny:
        state_dict = _expand_token_embedding(state_dict, path)
    is_own = is_tiny or is_openais_archive(state_dict) or is_torchscript(path)
    try:
        source = recognise(state_dict)
        weights = openai_names(state_dict, source)
        bias = weights.pop("logit_bias", None)
        sizes = sizes_of(weights)
    except (LookupError, RuntimeError, ValueError) as error:
        raise no_clip(path, state_dict, error) from error
    check_numbers({name: value for name, value in weights.items() if not _counts(name)}, path)
    config = None if is_own else config or config_beside(path, source)
    if config:
        config.check_sizes(sizes)
    elif not is_own:
        _check_told(path, source, sizes, activation)
    architecture = config.architecture if config else Architecture()
    if activation != AUTO:
        architecture = replace(architecture, activation=activation)
    if is_own and architecture == Architecture():
        return ClipFile(weights, architecture)
    note = f"{path.name}: {source.name} weights, {architecture.activation}"
    note += f", {config.path.name}" if config else ""
    note += "; its logit_bias is not used" if bias is not None else ""
    return ClipFile(weights, architecture, note)


def _check_told(path: Path, source: Format, sizes: Sizes, activation: str) -> None:
    """Refuse a file without a config whose tensors leave open what changes features in silence."""
    if activation == AUTO:
        raise ValueError(
            f"{path} holds weights in the names of {source.name}, which do not tell the "
            "activation; with the wrong one all features are wrong, in silence. Put the model's "
            f"{source.config} beside the file, or add {ACTIVATION} quickgelu (weights of OpenAI, "
            f"MetaCLIP, DFN) or {ACTIVATION} gelu (most of LAION, DataComp); docs/backbones.md "
            "says which."
        )
    if sizes.patch_size and sizes.image_width > _WIDEST:
        raise ValueError(
            f"{path} does not tell the number of heads of its image tower, whose width is "
            f"{sizes.image_width}. Put the model's {source.config} beside the file."
        )


def no_clip(
    source: str | os.PathLike[str], state_dict: Mapping[str, Tensor], error: Exception
) -> ValueError:
    """The error about tensors of which no CLIP can be made.

    Args:
        source: where they came from.
        state_dict: all of them.
        error: what was wrong.
    """
    reason = " ".join(str(error).split())[:300].rstrip(".")
    if isinstance(error, KeyError):
        reason = f"it lacks {reason}"
    names = ", ".join(printable(name) for name in list(state_dict)[:3])
    return ValueError(
        f"{source} does not hold a CLIP in the names of {', '.join(f.name for f in FORMATS)}: "
        f"{reason}. It has {len(state_dict)} tensors, such as {names}."
    )


def _counts(name: str) -> bool:
    """Whether it is a counter of a batch normalisation, an integer that no output depends on."""
    return name.endswith("num_batches_tracked")


def _expand_token_embedding(state_dict: StateDict, path: Path) -> StateDict:
    """Rebuild the full token embedding from the rows that our small file keeps.

    Tokens that the small model never saw get the mean row, the least surprising of all vectors.
    """
    check_numbers({"token_embedding.rows": state_dict["token_embedding.rows"]}, path)
    state_dict = dict(state_dict)
    rows = state_dict.pop("token_embedding.rows").float()  # [K, E]
    ids = state_dict.pop("token_embedding.ids", torch.empty(0)).long()  # [K]
    known = ids.dim() == 1 and bool(((0 <= ids) & (ids < VOCABULARY)).all())
    if not known or rows.dim() != 2 or len(rows) != len(ids) or rows.shape[1] > _MAX_WIDTH:
        raise ValueError(
            f"{path} holds token_embedding.rows {tuple(rows.shape)} and ids {tuple(ids.shape)}, "
            f"expected [K, up to {_MAX_WIDTH}] and [K] ids below {VOCABULARY}."
        )
    weight = rows.mean(dim=0).repeat(VOCABULARY, 1)  # [49408, E]
    weight[ids] = rows
    return {**state_dict, "token_embedding.weight": weight}
