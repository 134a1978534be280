"""LoRA: low-rank changes of weight matrices (Hu et al., ICLR 2022, https://arxiv.org/abs/2106.09685).

Every matrix W of a vision transformer's blocks becomes W + up @ down: those that make queries, keys
and values, the one behind the heads, and both of the MLP.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from modeling.tuning.module_tree import ModuleTree

_PACKED = 3  # queries, keys and values share a tensor, and have a change of their own each


class LowRank(nn.Module):
    """A change of a weight matrix, of low rank; 0 at the start.

    Args:
        weight: to be changed: [outputs, inputs].
        rank: of the change.
        parts: matrices that lie in `weight` one below the other.
        generator: source of the random half, on the CPU.
    """

    def __init__(
        self, weight: Tensor, rank: int, parts: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        bound = inputs**-0.5  # as nn.Linear starts
        down = torch.empty(parts, rank, inputs).uniform_(-bound, bound, generator=generator)
        self.down = nn.Parameter(down.to(weight.device))
        self.up = nn.Parameter(torch.zeros(parts, outputs // parts, rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        """The changed weight [outputs, inputs]."""
        return weight + (self.up @ self.down).flatten(0, 1)


def add_lora(visual: nn.Module, rank: int, generator: torch.Generator | None = None) -> ModuleTree:
    """Let all matrices of a vision transformer's blocks be changed.

    Args:
        visual: the image tower, changed in place; its own weights stay frozen.
        rank: of each change.
        generator: source of the random halves, on the CPU.

    Returns:
        What is trained: a `LowRank` under the name of each weight.

    Raises:
        ValueError: the rank is above the tower's width, where a change is no longer of low rank.
    """
    width = visual.transformer.width
    if rank > width:
        raise ValueError(
            f"TRAINER.TUNE.RANK must be at most the tower's width {width}, got {rank}."
        )
    changes: dict[str, nn.Module] = {}
    for index, block in enumerate(visual.transformer.resblocks):
        for path, name, parts in (
            ("attn", "in_proj_weight", _PACKED),
            ("attn.out_proj", "weight", 1),
            ("mlp.c_fc", "weight", 1),
            ("mlp.c_proj", "weight", 1),
        ):
            owner = block.get_submodule(path)
            change = LowRank(getattr(owner, name), rank, parts, generator)
            parametrize.register_parametrization(owner, name, change)
            changes[f"transformer.resblocks.{index}.{path}.{name}"] = change
    return ModuleTree(changes)


def merge_lora(visual: nn.Module) -> None:
    """Put the changes into the weights themselves; afterwards they are those of a plain tower."""
    for module in list(visual.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
