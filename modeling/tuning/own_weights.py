"""Some of the image tower's own weights: biases, norms, or the last blocks."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from modeling.tuning.module_tree import ModuleTree

_NORMS = (nn.LayerNorm, nn.BatchNorm2d)


def tune_biases(visual: nn.Module) -> ModuleTree:
    """Let all biases learn (BitFit, Ben Zaken et al., ACL 2022, https://arxiv.org/abs/2106.10199).

    Args:
        visual: the image tower of either kind.

    Returns:
        What is trained, by its names in the tower.
    """
    return _learning(visual, (n for n, _ in visual.named_parameters() if n.endswith("bias")))


def tune_norms(visual: nn.Module) -> ModuleTree:
    """Let scales and shifts of all norms learn; statistics of batch norms stay CLIP's.

    Args:
        visual: the image tower of either kind.

    Returns:
        What is trained, by its names in the tower.
    """
    norms = (name for name, module in visual.named_modules() if isinstance(module, _NORMS))
    return _learning(visual, (f"{name}.{part}" for name in norms for part in ("weight", "bias")))


def tune_last_blocks(visual: nn.Module, count: int) -> ModuleTree:
    """Let the last blocks learn, and what is behind them.

    Args:
        visual: the image tower of either kind.
        count: blocks, of all stages in one row for a ResNet.

    Returns:
        What is trained, by its names in the tower.

    Raises:
        ValueError: there are not as many blocks.
    """
    if hasattr(visual, "attnpool"):
        stages = [f"layer{number}" for number in (1, 2, 3, 4)]
        behind = ["attnpool."]
    else:
        stages, behind = ["transformer.resblocks"], ["ln_post.", "proj"]
    blocks = [
        f"{stage}.{index}." for stage in stages for index in range(len(visual.get_submodule(stage)))
    ]
    if count > len(blocks):
        raise ValueError(
            f"TRAINER.TUNE.BLOCKS must be at most the tower's {len(blocks)} blocks, got {count}."
        )
    prefixes = (*blocks[-count:], *behind)
    return _learning(
        visual, (name for name, _ in visual.named_parameters() if name.startswith(prefixes))
    )


def _learning(visual: nn.Module, names: Iterable[str]) -> ModuleTree:
    return ModuleTree({name: visual.get_parameter(name).requires_grad_(True) for name in names})
