"""What was tuned, as if it had learnt."""

from __future__ import annotations

import torch
from torch import nn

from modeling.tuning.kinds import tune_tower

# The kinds of tuning, each with the towers that it is for.
KINDS = {
    "lora": ("ViT", "RN"),
    "vpt": ("ViT",),
    "bias": ("ViT", "RN"),
    "norm": ("ViT", "RN"),
    "last_blocks": ("ViT", "RN"),
}
TEXT_KINDS = [kind for kind in KINDS if kind != "vpt"]
FITTING = [(kind, tower) for kind, towers in KINDS.items() for tower in towers]


@torch.no_grad()
def let_learn(part: nn.Module) -> None:
    """Move every parameter away from where it starts."""
    generator = torch.Generator().manual_seed(1)
    for parameter in part.parameters():
        parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


def tuned(tower: nn.Module, kind: str, deep: bool = True) -> nn.Module:
    """What learns in a tower, with small options: rank 2, 3 prompts, 1 block."""
    generator = torch.Generator().manual_seed(4)
    return tune_tower(tower, kind, rank=2, tokens=3, deep=deep, blocks=1, generator=generator)
