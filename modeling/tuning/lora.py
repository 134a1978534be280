"""LoRA: low-rank changes of weight matrices (Hu et al., ICLR 2022, https://arxiv.org/abs/2106.09685).

A matrix W becomes W + up @ down. In every block of a transformer these are the matrices that
make queries, keys and values, the one behind the heads, and both of the MLP; in a ResNet, whose
other weights are convolutions, those of its attention pool.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from modeling.tuning.module_tree import ModuleTree

_OF_A_BLOCK = (
    ("attn", 3, "in_proj_weight"),  # of queries, keys and values, with a change each
    ("attn.out_proj", 1, "weight"),
    ("mlp.c_fc", 1, "weight"),
    ("mlp.c_proj", 1, "weight"),
)


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


def add_lora(tower: nn.Module, rank: int, generator: torch.Generator | None = None) -> ModuleTree:
    """Let the matrices of a tower be changed.

    Args:
        tower: a tower of any kind, changed in place; its own weights stay frozen.
        rank: of each change.
        generator: source of the random halves, on the CPU.

    Returns:
        What is trained: a `LowRank` under the name of each weight.

    Raises:
        ValueError: the rank is above the sides of a matrix, where no change has more.
    """
    matrices = _matrices(tower)
    most = min(side for *_, owner, name in matrices for side in getattr(owner, name).shape)
    if rank > most:
        raise ValueError(f"TRAINER.TUNE.RANK must be at most {most} for this tower, got {rank}.")
    changes: dict[str, nn.Module] = {}
    for path, parts, owner, name in matrices:
        changes[f"{path}.{name}"] = change = LowRank(getattr(owner, name), rank, parts, generator)
        parametrize.register_parametrization(owner, name, change)
    return ModuleTree(changes)


def _matrices(tower: nn.Module) -> list[tuple[str, int, nn.Module, str]]:
    """Path of each matrix's module, parts of the matrix, the module, and its name there."""
    if hasattr(tower, "attnpool"):
        places = [(f"attnpool.{name}_proj", 1, "weight") for name in "qkvc"]
    else:
        places = [
            (f"transformer.resblocks.{index}.{path}", parts, name)
            for index in range(len(tower.transformer.resblocks))
            for path, parts, name in _OF_A_BLOCK
        ]
    return [(path, parts, tower.get_submodule(path), name) for path, parts, name in places]


def merge_lora(visual: nn.Module) -> None:
    """Put the changes into the weights themselves; afterwards they are those of a plain tower."""
    for module in list(visual.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
