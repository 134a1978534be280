"""Whole towers of a CLIP that learn, as parts of a learner."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from modeling.tuning.module_tree import ModuleTree
from modeling.tuning.towers import PARTS

_TEXT_PARTS = ("token_embedding", "positional_embedding", "transformer", "ln_final")
_TEXT_PARTS += ("text_projection", "projection_bias")  # the last one CLIP has not


class WholeTowers(nn.Module):
    """Towers that learn, all of each; what else is trained may stand beside them.

    The statistics of batch normalisation stay those of CLIP in training: they come from far more
    images than a long-tailed set has, and batches of it would shift them towards its head classes.

    Args:
        towers: by "image" or "text", which then take gradients.
    """

    def __init__(self, towers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for name, tower in towers.items():
            self.add_module(PARTS[name], tower.requires_grad_(True))

    def train(self, mode: bool = True) -> WholeTowers:
        """Switch the mode of everything but batch normalisation, which always evaluates."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


def whole_text_tower(clip_model: nn.Module) -> ModuleTree:
    """All of a CLIP's text tower under CLIP's names, its embeddings too.

    Args:
        clip_model: a `clip.model.CLIP` or `DualTower`, which shares what is returned.
    """
    parts = {name: getattr(clip_model, name, None) for name in _TEXT_PARTS}
    return ModuleTree({name: part for name, part in parts.items() if part is not None})
