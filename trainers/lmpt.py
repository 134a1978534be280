"""LMPT: prompt tuning with class-specific embedding loss (https://arxiv.org/abs/2305.04536).

Contexts are split: the first M_CTX tokens are general, the others belong to the instance. The
classification loss trains all of them through CLIP; the embedding loss pulls the instance tokens of
present classes towards the image's caption and pushes those of absent classes away, with wider
margins and larger weights for rarer classes. docs/deviations.md compares paper and released code.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

from dassl.engine import TRAINER_REGISTRY
from torch import Tensor
from yacs.config import CfgNode

from common.config.config_rules import Choice, Number, OrNone, declare_rules
from losses import (
    class_margins,
    class_specific_embedding_loss,
    class_weights,
    effective_counts,
)
from modeling.captions.caption_distance import SPACES, CaptionDistance
from modeling.captions.caption_tokens import CaptionTokens
from modeling.encoders.frozen_clip import FrozenClip
from modeling.prompts.prompt_model import PROMPT_OPTIONS, REGION_OPTIONS, Batch, PromptModel
from trainers.base import PromptTrainer, method_node

# What the embedding loss is in the paper, and in the released code made to run. Keys of
# TRAINER.LMPT.CSE replace the first four; the others make a preset what it is.
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {
        "SPACE": "token",  # token | pooled | text
        "MARGIN": 1.0,  # margin of a class with one image, in cosine distance
        "MARGIN_POWER": 0.25,  # margins are MARGIN * count ** -power
        "GAMMA": 1.0,  # weights are in proportion to count ** -gamma
        "sign": "hinge",  # present classes are pulled, absent ones pushed
        "prompt_tokens": "instance",  # the contexts v_{m+1} ... v_M
        "caption_tokens": "words",
        "over_positions": "mean",
        "counts": "raw",
        "reduction": "weighted_sum",  # over classes
    },
    "released_repaired": {
        "SPACE": "token",
        "MARGIN": 0.2,
        "MARGIN_POWER": 0.25,
        "GAMMA": 2.0,
        "sign": "inverted",  # present classes are pushed, absent ones pulled
        "prompt_tokens": "from_m",  # positions m to 76
        "caption_tokens": "positions",  # start token, words, end token, padding
        "over_positions": "sum",
        "counts": "raw",
        "reduction": "mean",  # over images and classes
    },
}
CSE_KEYS = ("SPACE", "MARGIN", "MARGIN_POWER", "GAMMA")


class LMPTModel(PromptModel):
    """Contexts that a balanced loss and the images' captions tune.

    Args:
        classnames: C names.
        clip: the frozen towers.
        captions: tokens of the training images' captions; without them it can score images and
            not compute its embedding loss.
        class_counts: training images of each class [C]; goes with `captions`.
        **more: as of `PromptModel`.
    """

    defaults: ClassVar = {
        **PROMPT_OPTIONS,
        **REGION_OPTIONS,
        "CSC": True,
        "M_CTX": 2,  # general context tokens; the other N_CTX - M_CTX meet the caption
        "LAMBDA": 0.5,  # share of the classification loss, in [0, 1]
        "PRESET": "paper",  # paper | released_repaired: what a CSE key means where it is None
        "CSE": dict.fromkeys(CSE_KEYS),  # class-specific embedding loss
    }

    def __init__(
        self,
        classnames: Sequence[str],
        clip: FrozenClip,
        captions: CaptionTokens | None = None,
        class_counts: Tensor | None = None,
        **more: Any,  # noqa: ANN401 - as PromptModel's
    ) -> None:
        super().__init__(classnames, clip, **more)
        self.captions = captions
        if captions is None:
            return
        chosen = {key: value for key, value in self.options.CSE.items() if value is not None}
        cse = self.cse = SimpleNamespace(**{**PRESETS[self.options.PRESET], **chosen})
        self.captions = captions.to(clip.device)
        self.distance = CaptionDistance(
            self.captions,
            self.learner,
            clip.text_encoder,
            self.options.M_CTX,
            cse.SPACE,
            cse.prompt_tokens,
            cse.caption_tokens,
            cse.over_positions,
        )
        counts = effective_counts(class_counts.to(clip.device), cse.counts)  # [C]
        self.margins = class_margins(counts, cse.MARGIN, cse.MARGIN_POWER)  # [C]
        self.weights = class_weights(counts, cse.GAMMA)  # [C]

    def loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> dict[str, Tensor]:
        """LAMBDA * classification loss + (1 - LAMBDA) * class-specific embedding loss."""
        classification = self.criterion(logits, targets)
        embedding = self.embedding_loss(targets, batch)
        share = self.options.LAMBDA
        return {
            "loss": share * classification + (1 - share) * embedding,
            "loss_cls": classification,
            "loss_cse": embedding,
        }

    def embedding_loss(self, targets: Tensor, batch: Batch) -> Tensor:
        """Class-specific embedding loss of a batch with targets [B, C].

        Raises:
            ValueError: the model was built without captions.
        """
        if self.captions is None:
            raise ValueError(
                "LMPTModel was built without captions, which its embedding loss compares; pass "
                "captions=CaptionTokens(...) and class_counts=..."
            )
        rows, captioned = self.captions.rows(batch.index, batch.sample_seed)
        distance = self.distance(rows, batch.text)  # [B, C]
        # An image without a caption says nothing about any class: unknown, in the loss's terms.
        targets = targets.where(captioned[:, None], -1.0)
        return class_specific_embedding_loss(
            distance, targets, self.margins, self.weights, self.cse.sign, self.cse.reduction
        )


declare_rules(
    "TRAINER.LMPT",
    {
        "M_CTX": Number(least=0),
        "LAMBDA": Number(least=0, most=1),
        "PRESET": Choice(PRESETS),
        "CSE.SPACE": OrNone(Choice(SPACES)),
        "CSE.MARGIN": OrNone(Number(least=0)),
        "CSE.MARGIN_POWER": OrNone(Number(least=0)),
        "CSE.GAMMA": OrNone(Number(least=0)),
    },
)


def extend_cfg(cfg: CfgNode) -> None:
    """Declare LMPT's keys."""
    cfg.TRAINER.LMPT = method_node(LMPTModel)


@TRAINER_REGISTRY.register()
class LMPT(PromptTrainer):
    """LMPT: contexts tuned by a balanced loss and by the images' captions."""

    model_class = LMPTModel

    def model_arguments(self) -> dict[str, Any]:
        """Captions, and the counts that margins and weights follow from."""
        return {"captions": self.data.caption_tokens(), "class_counts": self.data.class_counts}
