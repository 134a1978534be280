"""Models of open_clip's whose towers are not CLIP's: SigLIP, EVA-02, MobileCLIP, ConvNeXt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from modeling.clip.architecture import VOCABULARY
from modeling.clip.formats import unwrapped
from modeling.clip.text_kind import TextKind
from modeling.clip.tokenizer import CLIP, Tokenizer
from modeling.clip.weight_files import StateDict, check_numbers, read_state_dict
from modeling.towers.dual_tower import DualTower, TextParts
from modeling.towers.extras import import_extra
from modeling.towers.image_tower import ImageTower, TimmTower
from modeling.towers.open_clip_names import OpenClipModel, published_tokenizer
from modeling.towers.tokenizer_files import CLEANINGS, TOKENIZER, read_tokenizer

_READS_LAST = {"argmax": False, "eos": False, "last": True}  # pool_type of open_clip's texts
_SEEN = 300  # characters of a library's message that are passed on


def load_open_clip(model: OpenClipModel, weights: torch.dtype, activation: str) -> DualTower:
    """Build a model of open_clip's and read its weights as data.

    Args:
        model: its config and its file.
        weights: dtype of matrices and convolutions.
        activation: MODEL.BACKBONE.ACTIVATION; "auto" takes the config's.

    Returns:
        The model on the CPU, frozen, in eval mode.

    Raises:
        ImportError: open_clip is missing.
        ValueError: towers that cannot be used, or weights that do not fit.
    """
    library = import_extra("open_clip", model.name)
    config = deepcopy(model.config)
    if activation != "auto":
        config["quick_gelu"] = activation == "quickgelu"
    _check_config(config, model.name)
    built = _build(library, config, model.name)
    _load(built, model)
    text = getattr(built, "text", built)
    kind = _text_kind(text, config["text_cfg"], model)
    parts = TextParts(
        text.transformer,
        text.token_embedding,
        text.positional_embedding,
        text.ln_final,
        text.text_projection,
        kind,
    )
    side = built.visual.image_size
    side = side[0] if isinstance(side, (tuple, list)) else side
    tower = TimmTower if hasattr(built.visual, "trunk") else ImageTower
    return DualTower(
        tower(built.visual, side),
        parts,
        built.logit_scale,
        built.logit_bias,
        f"open_clip {hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]}",
        weights,
    )


def _check_config(config: Mapping[str, Any], name: str) -> None:
    """Refuse towers that prompts cannot enter, before anything is built or downloaded.

    Raises:
        ValueError: with the reason.
    """
    text, image = config.get("text_cfg"), config.get("vision_cfg")
    if not isinstance(text, dict) or not isinstance(image, dict):
        raise ValueError(f"{name}: its config has no text_cfg and vision_cfg.")
    trunk = str(image.get("timm_model_name") or "")
    reason = ""
    if "multimodal_cfg" in config or text.get("embed_cls"):
        reason = "it has CoCa's class token and text decoder"
    elif text.get("hf_model_name"):
        reason = f"its text tower is the language model {text['hf_model_name']}"
    elif text.get("pool_type", "argmax") not in list(_READS_LAST):  # it may not be hashable
        reason = f"its text tower reads texts by pool_type {text['pool_type']}"
    elif image.get("timm_model_pretrained") or ":" in trunk:
        reason = "its image tower would be downloaded by timm"
    if reason:
        raise ValueError(
            f"{name} cannot be prompted: {reason}. Take one whose texts pass a transformer of "
            "CLIP's blocks (docs/backbones.md)."
        )


def _build(library: Any, config: dict[str, Any], name: str) -> nn.Module:  # noqa: ANN401
    """The library's module of a config.

    Raises:
        ValueError: the library refuses the config, or the text tower's blocks are not CLIP's.
    """
    config = deepcopy(config)
    kind = library.CustomTextCLIP if config.pop("custom_text", False) else library.CLIP
    try:
        with torch.random.fork_rng(devices=[]):
            built = kind(**config)
    except (AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:_SEEN]
        raise ValueError(f"{name}: open_clip cannot build its config ({reason}).") from error
    blocks = getattr(built, "text", built).transformer.resblocks
    plain = library.transformer.ResidualAttentionBlock
    if any(type(b) is not plain or not isinstance(b.ls_1, nn.Identity) for b in blocks):
        raise ValueError(
            f"{name} cannot be prompted: the blocks of its text tower are not CLIP's "
            "(docs/backbones.md)."
        )
    return built.eval()


def _load(built: nn.Module, model: OpenClipModel) -> None:
    """Read the weights into the library's module.

    Raises:
        ValueError: they do not fit.
    """
    tensors = unwrapped(read_state_dict(model.weights))
    counters = [name for name in tensors if name.endswith("num_batches_tracked")]
    check_numbers({n: t for n, t in tensors.items() if n not in counters}, model.weights)
    try:
        built.load_state_dict(_as_built(tensors, built))
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:_SEEN]
        raise ValueError(
            f"{model.weights} does not hold the weights of {model.name}: {reason}"
        ) from error


def _as_built(tensors: StateDict, built: nn.Module) -> StateDict:
    """Names and shapes as the module has them, of files whose text tower is, or is not, apart."""
    if hasattr(built, "text") and "token_embedding.weight" in tensors:
        shared = ("visual.", "logit_")
        tensors = {n if n.startswith(shared) else f"text.{n}": t for n, t in tensors.items()}
    own = built.state_dict()
    if "logit_bias" in own:
        tensors.setdefault("logit_bias", torch.zeros(()))
    for name in ("logit_scale", "logit_bias"):
        if name in own and name in tensors and tensors[name].numel() == 1:
            tensors[name] = tensors[name].reshape(own[name].shape)
    return tensors


def _text_kind(text: nn.Module, config: Mapping[str, Any], model: OpenClipModel) -> TextKind:
    """How the text tower reads its tokens.

    Raises:
        ValueError: its tokenizer is not at hand, or has another end token than the tower.
    """
    tokens, length = text.token_embedding.weight.shape[0], len(text.positional_embedding)
    tokenizer = _tokenizer(config, tokens, length, model)
    pool = config.get("pool_type", "argmax")
    end = {"argmax": tokens - 1, "eos": config.get("eos_id", 2)}.get(pool, tokenizer.end)
    if end != tokenizer.end:
        raise ValueError(
            f"{model.name}: the end token of its tokenizer is {tokenizer.end}, and its text tower "
            f"reads texts at {end} (pool_type {pool})."
        )
    return TextKind(tokenizer, getattr(text, "attn_mask", None) is not None, _READS_LAST[pool])


def _tokenizer(
    config: Mapping[str, Any], tokens: int, length: int, model: OpenClipModel
) -> Tokenizer:
    """CLIP's tokenizer, or the one in tokenizer.json beside the weights, or on the hub."""
    repository, options = config.get("hf_tokenizer_name"), config.get("tokenizer_kwargs") or {}
    options = options if isinstance(options, dict) else {"tokenizer_kwargs": options}
    cleaning = options.get("clean", "whitespace" if repository else "lower")
    unknown = set(options) - {"clean", "strip_sep_token"} or config.get("tokenizer_mode")
    if unknown or cleaning not in list(CLEANINGS) or (not repository and cleaning != "lower"):
        raise ValueError(f"{model.name}: its tokenizer has options that are not known: {options}.")
    if not repository:
        if tokens != VOCABULARY:
            raise ValueError(f"{model.name}: its config names no tokenizer of {tokens} tokens.")
        return replace(CLIP, context_length=length, name=model.name)
    beside = model.weights.parent / TOKENIZER
    path = beside if beside.is_file() else published_tokenizer(repository, TOKENIZER)
    if path is None:
        raise ValueError(
            f"{model.name} needs its tokenizer, and {beside} is not there. Where there is a "
            f"network: hf download {repository} {TOKENIZER} tokenizer_config.json, and put both "
            "beside the weights."
        )
    found = read_tokenizer(path, cleaning, length, tokens, model.name)
    ends_in_padding = options.get("strip_sep_token", False)  # as CLIPA's texts
    return replace(found, end=found.pad) if ends_in_padding else found
