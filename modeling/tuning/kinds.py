"""The kinds of light tuning by their names."""

from __future__ import annotations

import torch
from torch import nn

from modeling.towers.image_tower import ImageTower
from modeling.tuning.lora import add_lora
from modeling.tuning.own_weights import tune_biases, tune_last_blocks, tune_norms
from modeling.tuning.visual_prompts import VisualPrompts

NONE = "none"
KINDS = {
    NONE: "the towers stay frozen",
    "lora": "low-rank changes of the matrices of attention and MLPs",
    "vpt": "tokens beside the patches",
    "bias": "biases",
    "norm": "scales and shifts of its norms",
    "last_blocks": "the last blocks, and what is behind them",
}
# The options that each reads, spelled as below TRAINER.TUNE.
OPTIONS = {"lora": ("RANK",), "vpt": ("TOKENS", "DEEP"), "last_blocks": ("BLOCKS",)}


def tune_tower(
    tower: nn.Module,
    kind: str,
    rank: int,
    tokens: int,
    deep: bool,
    blocks: int,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """Let a part of a tower learn; its features are those of before until it does.

    Args:
        tower: of a frozen fp32 `clip.model.CLIP`, as `tower_of` gives it; changed in place.
        kind: one of `KINDS`, other than none.
        rank: of "lora".
        tokens: T of "vpt".
        deep: of "vpt"; see `VisualPrompts`.
        blocks: of "last_blocks".
        generator: source of random starts, on the CPU.

    Returns:
        All that is trained, and nothing else.

    Raises:
        ValueError: prompts for a ResNet, an option that is too large for the tower, or a tower of
            another library.
    """
    if isinstance(tower, ImageTower):
        raise ValueError(
            f"TRAINER.TUNE.NAME {kind} is for CLIP's own image towers, and this one is another "
            "library's. Set TRAINER.TUNE.TOWER text, or train all of it with FinetuneCLIP."
        )
    if kind == "vpt" and hasattr(tower, "attnpool"):
        raise ValueError(
            "TRAINER.TUNE.NAME vpt is for vision transformers: a ResNet reads no tokens. "
            "Use lora, bias, norm or last_blocks."
        )
    if kind == "lora":
        return add_lora(tower, rank, generator)
    if kind == "vpt":
        return VisualPrompts(tower, tokens, deep, generator)
    if kind == "bias":
        return tune_biases(tower)
    if kind == "norm":
        return tune_norms(tower)
    return tune_last_blocks(tower, blocks)
