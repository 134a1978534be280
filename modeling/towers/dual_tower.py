"""An image and a text tower of another library, in the form that CLIP has here."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modeling.clip.text_kind import TextKind
from modeling.towers.image_tower import ImageTower


@dataclass(frozen=True)
class TextParts:
    """Parts of a text tower whose blocks are those of CLIP's transformer.

    Attributes:
        transformer: its `resblocks` have the parts of OpenAI's and open_clip's, by their names; it
            has a `width`, too.
        token_embedding: [V, E].
        positions: embeddings of the positions [L, E].
        ln_final: the norm before the projection.
        projection: a matrix [E, D], a linear layer, or None where the features have the width E.
        kind: how the tower reads its tokens.
    """

    transformer: nn.Module
    token_embedding: nn.Embedding
    positions: Tensor
    ln_final: nn.LayerNorm
    projection: Tensor | nn.Linear | None
    kind: TextKind


class DualTower(nn.Module):
    """Two towers with the attributes by which encoders and prompts know a `clip.model.CLIP`.

    That is all a prompt method needs of a model: `visual` of the image tower, and of the text tower
    `transformer.resblocks`, `token_embedding`, `positional_embedding`, `ln_final` and
    `text_projection`. What CLIP has not are `projection_bias`, `logit_bias` and `text_kind`.

    Args:
        visual: the image tower.
        text: of the text tower.
        logit_scale: logarithm of the factor from cosines to logits.
        logit_bias: what is added to the logits, as SigLIP does; 0 in CLIP.
        variant: what the weights do not tell, in words that differ where features do.
        weights: dtype of matrices and convolutions.

    Attributes:
        text_kind: how the text tower reads its tokens.
    """

    def __init__(
        self,
        visual: ImageTower,
        text: TextParts,
        logit_scale: Tensor,
        logit_bias: Tensor | None,
        variant: str,
        weights: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.visual, self.transformer = visual, text.transformer
        self.token_embedding, self.ln_final = text.token_embedding, text.ln_final
        self.positional_embedding = nn.Parameter(text.positions.detach().clone().float())
        matrix, bias = _matrix(text.projection, text.transformer.width)
        self.text_projection = nn.Parameter(matrix)
        self.register_parameter("projection_bias", None if bias is None else nn.Parameter(bias))
        self.logit_scale = nn.Parameter(logit_scale.detach().reshape(()))
        bias = torch.zeros(()) if logit_bias is None else logit_bias
        self.logit_bias = nn.Parameter(bias.detach().reshape(()))
        self.text_kind, self.variant = text.kind, variant
        self.requires_grad_(False).eval()
        self.visual.to(weights)
        self.text_projection.data = self.text_projection.to(weights)
        for module in self.transformer.modules():
            if isinstance(module, (nn.Linear, nn.MultiheadAttention)):
                module.to(weights)


def _matrix(projection: Tensor | nn.Linear | None, width: int) -> tuple[Tensor, Tensor | None]:
    """A projection as a matrix [E, D] and a bias [D], which it may lack."""
    if projection is None:
        return torch.eye(width), None
    if isinstance(projection, nn.Linear):
        bias = None if projection.bias is None else projection.bias.detach().clone()
        return projection.weight.detach().t().contiguous(), bias
    return projection.detach().clone(), None
