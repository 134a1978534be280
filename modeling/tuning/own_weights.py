"""Some of a tower's own weights: biases, norms, or the last blocks."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from modeling.tuning.module_tree import ModuleTree
from modeling.tuning.towers import blocks_of

_NORMS = (nn.LayerNorm, nn.BatchNorm2d)
# What follows the blocks: of a ResNet, of a vision transformer, of the text tower.
_BEHIND = ("attnpool.", "ln_post.", "proj", "ln_final.", "text_projection")


def tune_biases(tower: nn.Module) -> ModuleTree:
    """Let all biases learn (BitFit, Ben Zaken et al., ACL 2022, https://arxiv.org/abs/2106.10199).

    Args:
        tower: a tower of any kind.

    Returns:
        What is trained, by its names in the tower.
    """
    return _learning(tower, (n for n, _ in tower.named_parameters() if n.endswith("bias")))


def tune_norms(tower: nn.Module) -> ModuleTree:
    """Let scales and shifts of all norms learn; statistics of batch norms stay CLIP's.

    Args:
        tower: a tower of any kind.

    Returns:
        What is trained, by its names in the tower.
    """
    norms = (name for name, module in tower.named_modules() if isinstance(module, _NORMS))
    return _learning(tower, (f"{name}.{part}" for name in norms for part in ("weight", "bias")))


def tune_last_blocks(tower: nn.Module, count: int) -> ModuleTree:
    """Let the last blocks learn, and what is behind them.

    Args:
        tower: a tower of any kind.
        count: blocks, of all stages in one row for a ResNet.

    Returns:
        What is trained, by its names in the tower.

    Raises:
        ValueError: there are not as many blocks.
    """
    blocks = [f"{name}." for name in blocks_of(tower)]
    if count > len(blocks):
        raise ValueError(
            f"TRAINER.TUNE.BLOCKS must be at most the tower's {len(blocks)} blocks, got {count}."
        )
    prefixes = (*blocks[-count:], *_BEHIND)
    return _learning(
        tower, (name for name, _ in tower.named_parameters() if name.startswith(prefixes))
    )


def _learning(tower: nn.Module, names: Iterable[str]) -> ModuleTree:
    return ModuleTree({name: tower.get_parameter(name).requires_grad_(True) for name in names})
