"""The shape of a CLIP: what its tensors tell of it, what they do not, and the module of both.

OpenAI's own `build_model` knows one activation, one width of heads and one ratio of the MLP. CLIPs
of others differ in these, which changes their features and raises no error.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

ACTIVATIONS = {
    "quickgelu": "u sigmoid(1.702 u), as in OpenAI's CLIPs",
    "gelu": "u times the normal distribution at u, as in most of LAION's CLIPs",
}
CONTEXT_LENGTH = 77  # token positions of CLIP's text tower
VOCABULARY = 49408  # tokens of CLIP's byte-pair encoding
HEAD_WIDTH = 64  # of OpenAI's CLIPs, and of all published ones up to a width of 1024
_MAX_CONTEXT = 4096  # positions of texts: their attention mask is this squared
_RESNET_STRIDE = 32  # pixels between the cells of its last map
_RESNET_WIDENS = 32  # channels of that map, in widths of the first stage


@dataclass(frozen=True)
class Tower:
    """What the tensors of a tower do not tell.

    Attributes:
        heads: of its attention; None is one for each 64 channels.
        eps: added to variances by its layer norms.
    """

    heads: int | None = None
    eps: float = 1e-5


@dataclass(frozen=True)
class Architecture:
    """What the tensors of a CLIP do not tell; OpenAI's by default.

    Attributes:
        activation: of both towers; one of `ACTIVATIONS`. A ResNet's own is always ReLU.
        image: of the image tower.
        text: of the text tower.
    """

    activation: str = "quickgelu"
    image: Tower = field(default_factory=Tower)
    text: Tower = field(default_factory=Tower)


class Sizes(NamedTuple):
    """What the tensors of a CLIP tell.

    Attributes:
        features: D, the width of the features that images and texts share.
        image_size: side of the square images, in pixels.
        image_layers: blocks of a vision transformer, or of each stage of a ResNet.
        image_width: channels of a vision transformer, or of a ResNet's first stage.
        patch_size: side of a patch, in pixels; None for a ResNet.
        context_length: positions of the text tower.
        vocabulary: tokens.
        text_width: E, the width of the text tower.
        text_layers: blocks of the text tower.
    """

    features: int
    image_size: int
    image_layers: int | tuple[int, ...]
    image_width: int
    patch_size: int | None
    context_length: int
    vocabulary: int
    text_width: int
    text_layers: int


def sizes_of(state_dict: Mapping[str, Tensor]) -> Sizes:
    """Read the sizes of a CLIP from its tensors.

    Args:
        state_dict: OpenAI's parameter names to tensors.

    Raises:
        KeyError: a tensor is missing.
        ValueError: images are not square, or the texts are not of CLIP's tokens.
    """
    width, features = state_dict["text_projection"].shape
    context = len(state_dict["positional_embedding"])
    vocabulary = len(state_dict["token_embedding.weight"])
    if vocabulary != VOCABULARY:
        raise ValueError(f"its vocabulary has {vocabulary} tokens, CLIP's has {VOCABULARY}")
    if not CONTEXT_LENGTH <= context <= _MAX_CONTEXT:
        raise ValueError(
            f"its texts have {context} positions, expected {CONTEXT_LENGTH} (up to {_MAX_CONTEXT})"
        )
    image = _transformer(state_dict) if "visual.proj" in state_dict else _resnet(state_dict)
    layers = _count(state_dict, r"transformer\.resblocks\.(\d+)\.")
    return Sizes(features, *image, context, vocabulary, width, layers)


def _transformer(state_dict: Mapping[str, Tensor]) -> tuple[int, int, int, int]:
    width, _, _, patch = state_dict["visual.conv1.weight"].shape
    side = _grid(state_dict["visual.positional_embedding"]) * patch
    return side, _count(state_dict, r"visual\.transformer\.resblocks\.(\d+)\."), width, patch


def _resnet(state_dict: Mapping[str, Tensor]) -> tuple[int, tuple[int, ...], int, None]:
    layers = tuple(_count(state_dict, rf"visual\.layer{stage}\.(\d+)\.") for stage in range(1, 5))
    side = _grid(state_dict["visual.attnpool.positional_embedding"]) * _RESNET_STRIDE
    return side, layers, len(state_dict["visual.layer1.0.conv1.weight"]), None


def _grid(positions: Tensor) -> int:
    """Cells on a side of a square map, of embeddings [1 + cells, W]."""
    side = math.isqrt(max(len(positions) - 1, 0))
    if side * side + 1 != len(positions):
        raise ValueError(f"{len(positions) - 1} positions of images are not those of a square")
    return side


def _count(state_dict: Mapping[str, Tensor], pattern: str) -> int:
    """How many numbers stand in the names at the place of the pattern's group."""
    return len({match[1] for name in state_dict if (match := re.match(pattern, name))})


def assemble(
    clip_package: types.ModuleType, state_dict: Mapping[str, Tensor], architecture: Architecture
) -> nn.Module:
    """Make a CLIP that its tensors fit, without memory and without random numbers.

    Args:
        clip_package: the module `clip.model`.
        state_dict: OpenAI's parameter names to tensors.
        architecture: what they do not tell.

    Returns:
        A `clip.model.CLIP` on the meta device, its layers that may be fp16 being so.

    Raises:
        KeyError: a tensor is missing.
        RuntimeError: tensors are missing, unknown, or of another shape.
        ValueError: sizes that no CLIP of this project has.
    """
    sizes = sizes_of(state_dict)
    widens = 1 if sizes.patch_size else _RESNET_WIDENS
    _check_heads("image", sizes.image_width * widens, architecture.image.heads)
    _check_heads("text", sizes.text_width, architecture.text.heads)
    with torch.device("meta"):
        heads = architecture.text.heads or sizes.text_width // HEAD_WIDTH
        model = clip_package.CLIP(*sizes[:-1], heads, sizes.text_layers)
        _adapt_image_tower(model.visual, state_dict, architecture)
        _adapt_blocks(model.transformer, "transformer", state_dict, architecture.activation)
        _set_eps(nn.ModuleList([model.transformer, model.ln_final]), architecture.text.eps)
        clip_package.convert_weights(model)
        model.load_state_dict({name: value.to("meta") for name, value in state_dict.items()})
    causal = model.build_attention_mask()  # no buffer, so that it has to be made where it is used
    for block in model.transformer.resblocks:
        block.attn_mask = causal
    return model


def _check_heads(tower: str, width: int, heads: int | None) -> None:
    if heads is not None and (heads < 1 or width % heads):
        raise ValueError(f"its {tower} tower of width {width} cannot have {heads} heads")


def _adapt_image_tower(
    visual: nn.Module, state_dict: Mapping[str, Tensor], architecture: Architecture
) -> None:
    heads = architecture.image.heads
    if hasattr(visual, "attnpool"):
        visual.attnpool.num_heads = heads or visual.attnpool.num_heads
        return
    _adapt_blocks(
        visual.transformer, "visual.transformer", state_dict, architecture.activation, heads
    )
    _set_eps(visual, architecture.image.eps)


def _adapt_blocks(
    transformer: nn.Module,
    prefix: str,
    state_dict: Mapping[str, Tensor],
    activation: str,
    heads: int | None = None,
) -> None:
    """Give a tower's blocks their activation, the MLP's width and, if it is told, their heads."""
    width = transformer.width
    for index, block in enumerate(transformer.resblocks):
        hidden = len(state_dict[f"{prefix}.resblocks.{index}.mlp.c_fc.weight"])
        if hidden != block.mlp.c_fc.out_features:
            block.mlp.c_fc, block.mlp.c_proj = nn.Linear(width, hidden), nn.Linear(hidden, width)
        if activation == "gelu":
            block.mlp.gelu = nn.GELU()
        if heads is not None:
            block.attn.num_heads, block.attn.head_dim = heads, width // heads


def _set_eps(tower: nn.Module, eps: float) -> None:
    for module in tower.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = eps


def activation_of(clip_model: nn.Module) -> str:
    """Which of `ACTIVATIONS` a `clip.model.CLIP` has."""
    return activation_of_block(clip_model.transformer.resblocks[0])


def activation_of_block(block: nn.Module) -> str:
    """Which of `ACTIVATIONS` a block of CLIP's transformers has."""
    return "gelu" if isinstance(block.mlp.gelu, nn.GELU) else "quickgelu"


def not_openais(visual: nn.Module) -> list[str]:
    """What the constructors of `clip.model` cannot give an image tower, in words; often nothing.

    Args:
        visual: the image tower of a `clip.model.CLIP` or `DualTower`.
    """
    if hasattr(visual, "attnpool"):
        return []
    if not hasattr(visual, "transformer"):
        return ["an architecture of another library"]
    block, width = visual.transformer.resblocks[0], visual.transformer.width
    found = ["GELU in place of QuickGELU"] if activation_of_block(block) == "gelu" else []
    if block.ln_1.eps != Tower().eps:
        found.append(f"norms with an eps of {block.ln_1.eps}")
    if block.mlp.c_fc.out_features != 4 * width:
        found.append(f"an MLP of {block.mlp.c_fc.out_features} channels")
    return found
