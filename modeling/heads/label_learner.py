"""What PVLR trains behind the towers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeling.encoders.features import Features
from modeling.heads.label_fusion import ChannelInteraction, DualModalAttention, LabelRelations
from modeling.prompts.prompt_learner import PromptLearner

LABELS = {
    "ifm": "both representations, fused channel by channel",
    "sum": "their mean",
    "kap": "that of the fixed prompts alone",
    "cap": "that of the trained prompts alone",
}


class LabelLearner(nn.Module):
    """Labels from two sources, their fusion, and their exchange with regions.

    Args:
        known: features of fixed prompts [C, D], L2-normalised.
        names: features of the bare class names [C, D]; None where `prompts` make them anew.
        labels: one of `LABELS`, checked by the caller.
        n_ctx: M, trained tokens that stand beside the names.
        direction: one of `modeling.heads.label_fusion.DIRECTIONS`, checked by the caller.
        heads: of every attention; must divide D.
        bias: where the classes' logit biases start.
        prompts: trained contexts before the names, in the place of tokens beside them.

    Raises:
        ValueError: the heads do not divide the width.
    """

    def __init__(
        self,
        known: Tensor,
        names: Tensor | None,
        labels: str = "ifm",
        n_ctx: int = 4,
        direction: str = "both",
        heads: int = 8,
        bias: float = -2.0,
        prompts: PromptLearner | None = None,
    ) -> None:
        super().__init__()
        classes, width = known.shape
        self.source, self.prompts = labels, prompts
        self.register_buffer("known", known, persistent=False)
        self.register_buffer("names", names, persistent=False)
        if labels != "cap":
            self.relate_known = LabelRelations(width, heads)
        if labels != "kap":
            self.relate_learnt = LabelRelations(width, heads)
            if prompts is None:
                self.ctx = nn.Parameter(torch.empty(n_ctx, width).normal_(std=0.02))
        self.fuse = ChannelInteraction(width) if labels == "ifm" else nn.LayerNorm(width)
        self.region_norm = nn.LayerNorm(width)
        self.exchange = DualModalAttention(width, heads, direction)
        self.class_bias = nn.Parameter(torch.full((classes,), float(bias)))

    def labels(self, names: Tensor) -> tuple[Tensor, Tensor]:
        """Label representations of bare names' features [C, D].

        Returns:
            [C, D], and a scalar: the mean of 1 - cosine of the two sources, 0 with one alone.
        """
        if self.source == "kap":
            return self.fuse(self.relate_known(self.known)), names.new_zeros(())
        tokens = names if self.prompts is not None else torch.cat([self.ctx, names])  # [M + C, D]
        learnt = self.relate_learnt(tokens)[-len(names) :]  # [C, D]
        if self.source == "cap":
            return self.fuse(learnt), names.new_zeros(())
        known = self.relate_known(self.known)
        disagreement = 1 - F.cosine_similarity(known, learnt, dim=-1).mean()
        if self.source == "ifm":
            return self.fuse(known, learnt), disagreement
        return self.fuse((known + learnt) / 2), disagreement

    def forward(self, labels: Tensor, views: Features) -> Tensor:
        """Cosines of regions and labels after their exchange: labels [C, D] -> [B, R, C]."""
        regions = self.region_norm(views.local_features)  # [B, R, D]
        labels, regions = self.exchange(labels, regions, views.mask)
        return F.normalize(regions, dim=-1) @ F.normalize(labels, dim=-1).transpose(-1, -2)
