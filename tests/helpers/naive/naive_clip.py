"""A CLIP written out in plain steps, of any activation, number of heads and eps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Tensors = Mapping[str, Tensor]


def quickgelu(u: Tensor) -> Tensor:
    return u / (1 + torch.exp(-1.702 * u))


def gelu(u: Tensor) -> Tensor:
    return u * (1 + torch.erf(u / math.sqrt(2))) / 2


def naive_image_features(
    own: Tensors, image: Tensor, heads: int, eps: float, activation: Callable
) -> Tensor:
    """A vision transformer's feature [D] of one image [3, H, W], not normalised."""
    kernel = own["visual.conv1.weight"]  # [W, 3, P, P]
    side = kernel.shape[-1]
    stream = [own["visual.class_embedding"]]
    for y in range(0, image.shape[1], side):
        for x in range(0, image.shape[2], side):
            patch = image[:, y : y + side, x : x + side]
            stream.append((kernel * patch).sum(dim=(1, 2, 3)))
    x = torch.stack(stream) + own["visual.positional_embedding"]
    x = _norm(own, "visual.ln_pre", x, eps)
    x = _blocks(own, "visual.transformer", x, heads, eps, activation, causal=False)
    return _norm(own, "visual.ln_post", x[0], eps) @ own["visual.proj"]


def naive_text_features(
    own: Tensors, tokens: Tensor, heads: int, eps: float, activation: Callable
) -> Tensor:
    """The text tower's feature [D] of the tokens [L] of one text, not normalised."""
    x = own["token_embedding.weight"][tokens] + own["positional_embedding"][: len(tokens)]
    x = _blocks(own, "transformer", x, heads, eps, activation, causal=True)
    return _norm(own, "ln_final", x, eps)[int(tokens.argmax())] @ own["text_projection"]


def _blocks(
    own: Tensors,
    prefix: str,
    x: Tensor,
    heads: int,
    eps: float,
    activation: Callable,
    causal: bool,
) -> Tensor:
    layer = 0
    while (block := f"{prefix}.resblocks.{layer}") + ".ln_1.weight" in own:
        x = x + _attention(own, f"{block}.attn", _norm(own, f"{block}.ln_1", x, eps), heads, causal)
        wide = activation(_linear(own, f"{block}.mlp.c_fc", _norm(own, f"{block}.ln_2", x, eps)))
        x = x + _linear(own, f"{block}.mlp.c_proj", wide)
        layer += 1
    return x


def _attention(own: Tensors, name: str, x: Tensor, heads: int, causal: bool) -> Tensor:
    joined = x @ own[f"{name}.in_proj_weight"].T + own[f"{name}.in_proj_bias"]
    width = x.shape[-1] // heads
    mixed = torch.zeros_like(x)
    for head in range(heads):
        own_columns = slice(head * width, (head + 1) * width)
        q, k, v = (part[:, own_columns] for part in joined.split(x.shape[-1], dim=1))
        for i in range(len(x)):
            last = i + 1 if causal else len(x)
            weights = torch.softmax(k[:last] @ q[i] / math.sqrt(width), dim=0)
            mixed[i, own_columns] = weights @ v[:last]
    return _linear(own, f"{name}.out_proj", mixed)


def _linear(own: Tensors, name: str, x: Tensor) -> Tensor:
    return x @ own[f"{name}.weight"].T + own[f"{name}.bias"]


def _norm(own: Tensors, name: str, x: Tensor, eps: float) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    scaled = centred / torch.sqrt((centred**2).mean(dim=-1, keepdim=True) + eps)
    return scaled * own[f"{name}.weight"] + own[f"{name}.bias"]
