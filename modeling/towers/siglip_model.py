"""SigLIP and SigLIP 2 from a folder of Hugging Face's (`SiglipModel`)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from common.readers.json_files import read_json
from modeling.clip.formats import HUGGING_FACE, openai_names, unwrapped
from modeling.clip.loader import clip_modules
from modeling.clip.text_kind import TextKind
from modeling.clip.weight_files import StateDict, check_numbers, read_state_dict
from modeling.towers.dual_tower import DualTower, TextParts
from modeling.towers.extras import import_extra
from modeling.towers.image_tower import SiglipTower
from modeling.towers.tokenizer_files import TOKENIZER, read_tokenizer

CONFIG = "config.json"
_SIGLIP, _NAFLEX = "siglip", "siglip2"  # model_type; SigLIP 2 of fixed sizes is "siglip", too
_FIRST_VOCABULARY = 32000  # of SigLIP; SigLIP 2 has Gemma's, and keeps punctuation
_ACTIVATIONS = {
    "gelu_pytorch_tanh": lambda: nn.GELU(approximate="tanh"),
    "gelu": nn.GELU,
    "gelu_python": nn.GELU,
}
_TEXT = "text_model."
_SEEN = 300  # characters of a library's message that are passed on


def is_siglip(folder: Path) -> bool:
    """Whether a folder's config.json is a SigLIP's.

    Raises:
        ValueError: it is a SigLIP 2 of flexible resolution, which is not supported.
    """
    path = folder / CONFIG
    content = read_json(path) if path.is_file() else None
    kind = content.get("model_type") if isinstance(content, dict) else None
    if kind == _NAFLEX:
        raise ValueError(
            f"{path} is of a SigLIP 2 of flexible resolution (naflex), which takes patches, no "
            "images. Take one of a fixed size, such as google/siglip2-base-patch16-224."
        )
    return kind == _SIGLIP


def load_siglip(path: Path, weights: torch.dtype) -> DualTower:
    """Build SigLIP from a folder's config.json, weights and tokenizer.json.

    Args:
        path: the weight file; the others lie beside it.
        weights: dtype of matrices and convolutions.

    Returns:
        The model on the CPU, frozen, in eval mode.

    Raises:
        ImportError: transformers is missing.
        ValueError: a file is missing or damaged, or does not fit the others.
    """
    library = import_extra("transformers", str(path.parent))
    config, towers = _config(library, path.parent / CONFIG)
    tensors = unwrapped(read_state_dict(path))
    tensors = {name: t for name, t in tensors.items() if not name.endswith("position_ids")}
    check_numbers(tensors, path)
    try:
        with torch.random.fork_rng(devices=[]):
            built = library.SiglipModel(config)
        built.load_state_dict(tensors)
    except (AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:_SEEN]
        raise ValueError(f"{path} does not hold the SigLIP of its {CONFIG}: {reason}") from error
    size = config.vision_config.image_size
    return DualTower(
        SiglipTower(built.vision_model, size[0] if isinstance(size, (list, tuple)) else size),
        _text_parts(config.text_config, tensors, path),
        built.logit_scale,
        built.logit_bias,
        f"siglip {hashlib.sha256(towers.encode()).hexdigest()[:16]}",
        weights,
    )


def _config(library: Any, path: Path) -> tuple[Any, str]:  # noqa: ANN401
    """The library's config object of a config.json, and what the file says of the towers.

    Raises:
        ValueError: the library refuses it, or its activation is not known here.
    """
    content = read_json(path)
    try:
        config = library.SiglipConfig.from_dict(content)
    except Exception as error:  # the library's own are of several kinds
        reason = " ".join(str(error).split())[:_SEEN]
        raise ValueError(f"{path} is no config of a SigLIP ({reason}).") from error
    act = config.text_config.hidden_act
    if act not in list(_ACTIVATIONS):  # of a file, so that it may not be hashable
        raise ValueError(
            f"{path}: text_config.hidden_act is {act!r}, expected {', '.join(_ACTIVATIONS)}."
        )
    if not getattr(config.vision_config, "vision_use_head", True):
        raise ValueError(
            f"{path}: vision_config.vision_use_head is false, which leaves no feature."
        )
    towers = [content.get(f"{tower}_config") for tower in ("text", "vision")]
    return config, json.dumps(towers, sort_keys=True)


def _text_parts(config: Any, tensors: StateDict, path: Path) -> TextParts:  # noqa: ANN401
    """The text tower of CLIP's own blocks; the library's has queries, keys and values apart."""
    own = {name: t for name, t in tensors.items() if name.startswith(_TEXT)}
    own = openai_names(own, HUGGING_FACE)
    embedding, positions = own["token_embedding.weight"].float(), own["positional_embedding"]
    tokens, width = embedding.shape
    package = clip_modules()
    tower = nn.Module()
    with torch.random.fork_rng(devices=[]):
        tower.transformer = package.Transformer(
            width, config.num_hidden_layers, config.num_attention_heads
        )
        tower.ln_final = package.LayerNorm(width)
        for block in tower.transformer.resblocks:
            block.mlp.c_fc = nn.Linear(width, config.intermediate_size)
            block.mlp.gelu = _ACTIVATIONS[config.hidden_act]()
            block.mlp.c_proj = nn.Linear(config.intermediate_size, width)
    for module in tower.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = config.layer_norm_eps
    names = tower.state_dict()
    tower.load_state_dict({name: own[name] for name in names})
    head = nn.utils.skip_init(nn.Linear, width, len(own[f"{_TEXT}head.weight"]))
    head.load_state_dict({kind: own[f"{_TEXT}head.{kind}"] for kind in ("weight", "bias")})
    file = path.parent / TOKENIZER
    if not file.is_file():
        raise ValueError(
            f"{path.parent} has no {TOKENIZER}. Copy it from the model's repository, or make it of "
            f"its spiece.model: python -c 'from transformers import AutoTokenizer as T; "
            f'T.from_pretrained("{path.parent}").save_pretrained("{path.parent}")\''
        )
    cleaning = "canonicalize" if tokens == _FIRST_VOCABULARY else "lower"
    tokenizer = read_tokenizer(file, cleaning, len(positions), tokens, path.parent.name)
    return TextParts(
        tower.transformer,
        nn.Embedding.from_pretrained(embedding),
        positions,
        tower.ln_final,
        head,
        TextKind(tokenizer, causal=False, reads_last=True),
    )
