"""Random CLIPs of both towers, small enough for tests; the real architecture throughout."""

from __future__ import annotations

import copy
import functools
import importlib

import torch
from torch import nn

from modeling.clip.loader import import_clip

TOWERS = ("ViT", "RN")
RESOLUTION = {"ViT": 32, "RN": 64}


def random_clip(
    tower: str = "ViT", seed: int = 0, embed_dim: int = 32, layers: int = 2
) -> nn.Module:
    """An fp32 `clip.model.CLIP` whose weights fp16 holds exactly, as OpenAI's files have them."""
    return copy.deepcopy(_drawn(tower, seed, embed_dim, layers))


@functools.cache
def _drawn(tower: str, seed: int, embed_dim: int, layers: int) -> nn.Module:
    """The same; drawing it takes longer than copying it."""
    import_clip()
    model = importlib.import_module("clip.model")
    vision = {"ViT": (32, 2, 64, 8), "RN": (64, (1, 1, 1, 1), 8, None)}[tower]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        clip_model = model.CLIP(embed_dim, *vision, 77, 49408, 64, 1, layers)
        for name, parameter in clip_model.named_parameters():
            parameter.data = parameter.data.half().float()
            if name.startswith("transformer"):
                parameter.data = (parameter.data * 4).half().float()  # texts that differ
    return clip_model.requires_grad_(False).eval()


def openai_weights(clip_model: nn.Module) -> dict[str, torch.Tensor]:
    """A CLIP's tensors as in OpenAI's archives: with sizes, by which a file is known as theirs."""
    sizes = {
        "input_resolution": clip_model.visual.input_resolution,
        "context_length": clip_model.context_length,
        "vocab_size": clip_model.vocab_size,
    }
    weights = {name: value.contiguous() for name, value in clip_model.state_dict().items()}
    return {**weights, **{name: torch.tensor(size) for name, size in sizes.items()}}


def with_gelu(clip_model: nn.Module) -> nn.Module:
    """The same CLIP with the usual GELU in all of its transformers; changed in place."""
    for module in list(clip_model.modules()):
        if hasattr(module, "mlp"):
            module.mlp.gelu = nn.GELU()
    return clip_model
