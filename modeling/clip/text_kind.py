"""How a text tower reads its tokens: what CLIP's does, and what those of others do instead."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modeling.clip.tokenizer import CLIP, Tokenizer


@dataclass(frozen=True)
class TextKind:
    """What sets text towers of the same transformer apart; CLIP's by default.

    Attributes:
        tokenizer: of its texts.
        causal: a position sees those before it alone; else all of them, padding included.
        reads_last: the text's feature is read at the last position; else at the end token.
    """

    tokenizer: Tokenizer = CLIP
    causal: bool = True
    reads_last: bool = False

    @property
    def sees_padding(self) -> bool:
        """Whether what stands behind the end token changes a feature, so that it must be kept."""
        return self.reads_last or not self.causal

    def read_positions(self, tokens: Tensor) -> Tensor:
        """Where the features of texts are read: token ids [N, L] -> [N]."""
        if self.reads_last:
            last = tokens.shape[1] - 1
            return torch.full((len(tokens),), last, dtype=torch.long, device=tokens.device)
        return self.tokenizer.end_positions(tokens)

    def without_padding(self, tokens: Tensor) -> Tensor:
        """Token ids [N, L], cut behind the longest text where that changes no feature."""
        if self.sees_padding:
            return tokens
        return tokens[:, : int(self.tokenizer.end_positions(tokens).max()) + 1]


_CLIPS = TextKind()


def text_kind(clip_model: nn.Module) -> TextKind:
    """How a model's text tower reads its tokens.

    Args:
        clip_model: a `clip.model.CLIP`, or a `modeling.towers.dual_tower.DualTower`, which says.
    """
    return getattr(clip_model, "text_kind", _CLIPS)
