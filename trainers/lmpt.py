"""LMPT: prompt tuning with class-specific embedding loss (https://arxiv.org/abs/2305.04536).

Contexts are split: the first M_CTX tokens are general, the others belong to the instance. The
classification loss trains all of them through CLIP; the embedding loss pulls the instance tokens of
present classes towards the image's caption and pushes those of absent classes away, with wider
margins and larger weights for rarer classes. docs/deviations.md compares paper and released code.
"""

from __future__ import annotations

from typing import Any

from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn
from yacs.config import CfgNode

from common.config_rules import Choice, Number, OrNone, declare_rules
from losses import (
    class_margins,
    class_specific_embedding_loss,
    class_weights,
    effective_counts,
)
from losses.class_specific_embedding import COUNT_MODES, EMBEDDING_REDUCTIONS, SIGNS
from modeling.captions.caption_distance import (
    CAPTION_TOKENS,
    PROMPT_TOKENS,
    REDUCTIONS,
    SPACES,
    CaptionDistance,
)
from trainers.base import REGIONS, PromptTrainer, prompt_options

PRESETS = {
    "paper": {
        "SIGN": "hinge",  # hinge | inverted (present classes are pushed, absent ones pulled)
        "PROMPT_TOKENS": "instance",  # instance | from_m
        "CAPTION_TOKENS": "words",  # words | positions
        "REDUCE_POS": "mean",  # mean | sum over positions
        "SPACE": "token",  # token | pooled | text
        "COUNTS": "raw",  # raw | softmax_freq | softmax_negfreq
        "MARGIN": 1.0,  # margin of a class with one image, in cosine distance
        "MARGIN_POWER": 0.25,  # margins are MARGIN * count ** -power
        "GAMMA": 1.0,  # weights are in proportion to count ** -gamma
        "REDUCTION": "weighted_sum",  # weighted_sum over classes | mean over images and classes
    },
    "released_repaired": {
        "SIGN": "inverted",
        "PROMPT_TOKENS": "from_m",
        "CAPTION_TOKENS": "positions",
        "REDUCE_POS": "sum",
        "SPACE": "token",
        "COUNTS": "raw",
        "MARGIN": 0.2,
        "MARGIN_POWER": 0.25,
        "GAMMA": 2.0,
        "REDUCTION": "mean",
    },
}


def extend_cfg(cfg: CfgNode) -> None:
    """Declare LMPT's keys."""
    node = cfg.TRAINER.LMPT = prompt_options(CSC=True, **REGIONS)
    node.M_CTX = 2  # general context tokens; the other N_CTX - M_CTX meet the caption
    node.LAMBDA = 0.5  # share of the classification loss, in [0, 1]
    node.PRESET = "paper"  # paper | released_repaired: what a CSE key means where it is None
    node.CSE = CfgNode(dict.fromkeys(PRESETS["paper"]))  # class-specific embedding loss


declare_rules(
    "TRAINER.LMPT",
    {
        "M_CTX": Number(least=0),
        "LAMBDA": Number(least=0, most=1),
        "PRESET": Choice(PRESETS),
        "CSE.SIGN": OrNone(Choice(SIGNS)),
        "CSE.PROMPT_TOKENS": OrNone(Choice(PROMPT_TOKENS)),
        "CSE.CAPTION_TOKENS": OrNone(Choice(CAPTION_TOKENS)),
        "CSE.REDUCE_POS": OrNone(Choice(REDUCTIONS)),
        "CSE.SPACE": OrNone(Choice(SPACES)),
        "CSE.COUNTS": OrNone(Choice(COUNT_MODES)),
        "CSE.MARGIN": OrNone(Number(least=0)),
        "CSE.MARGIN_POWER": OrNone(Number(least=0)),
        "CSE.GAMMA": OrNone(Number(least=0)),
        "CSE.REDUCTION": OrNone(Choice(EMBEDDING_REDUCTIONS)),
    },
)


@TRAINER_REGISTRY.register()
class LMPT(PromptTrainer):
    """LMPT: contexts tuned by a balanced loss and by the images' captions."""

    def build_learner(self) -> nn.Module:
        """Contexts, and the captions that they will meet."""
        learner = super().build_learner().to(self.device)
        chosen = {key: value for key, value in self.method_cfg.CSE.items() if value is not None}
        cse = self.cse = CfgNode({**PRESETS[self.method_cfg.PRESET], **chosen})
        self.captions = self.caption_source()
        self.distance = CaptionDistance(
            self.captions.tokens,
            learner,
            self.text_encoder,
            self.method_cfg.M_CTX,
            cse.SPACE,
            cse.PROMPT_TOKENS,
            cse.CAPTION_TOKENS,
            cse.REDUCE_POS,
        )
        counts = (self.train_targets == 1).sum(dim=0).to(self.device)
        counts = effective_counts(counts, cse.COUNTS)  # [C]
        self.margins = class_margins(counts, cse.MARGIN, cse.MARGIN_POWER)  # [C]
        self.weights = class_weights(counts, cse.GAMMA)  # [C]
        return learner

    def compute_loss(
        self, logits: Tensor, targets: Tensor, batch: dict[str, Any]
    ) -> dict[str, Tensor]:
        """LAMBDA * classification loss + (1 - LAMBDA) * class-specific embedding loss."""
        classification = self.criterion(logits, targets)
        embedding = self.embedding_loss(targets, batch)
        share = self.method_cfg.LAMBDA
        return {
            "loss": share * classification + (1 - share) * embedding,
            "loss_cls": classification,
            "loss_cse": embedding,
        }

    def embedding_loss(self, targets: Tensor, batch: dict[str, Any]) -> Tensor:
        """Class-specific embedding loss of a batch with targets [B, C]."""
        rows, captioned = self.captions.rows(batch["index"], batch["draw"])
        distance = self.distance(rows, batch["text_features"])  # [B, C]
        # An image without a caption says nothing about any class: unknown, in the loss's terms.
        targets = targets.where(captioned[:, None], -1.0)
        return class_specific_embedding_loss(
            distance, targets, self.margins, self.weights, self.cse.SIGN, self.cse.REDUCTION
        )
