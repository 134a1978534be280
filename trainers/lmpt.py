"""LMPT: prompt tuning with class-specific embedding loss (https://arxiv.org/abs/2305.04536).

Contexts are split: the first M_CTX tokens are general, the others belong to the instance. The
classification loss trains all of them through CLIP; the embedding loss pulls the instance tokens of
present classes towards the words of the image's caption and pushes those of absent classes away,
with wider margins and larger weights for rarer classes.
"""

from __future__ import annotations

from typing import Any

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn
from yacs.config import CfgNode

from losses import aligned_distance, class_margins, class_specific_embedding_loss, class_weights
from modeling.tokenizer import end_positions, tokenize_captions
from trainers.base import PromptTrainer, prompt_options


def extend_cfg(cfg: CfgNode) -> None:
    """Declare LMPT's keys."""
    node = cfg.TRAINER.LMPT = prompt_options(CSC=True)
    node.M_CTX = 2  # general context tokens; the other N_CTX - M_CTX meet the caption
    node.LAMBDA = 0.5  # share of the classification loss, in [0, 1]
    node.CSE = CfgNode()  # class-specific embedding loss
    node.CSE.MARGIN = 1.0  # margin of a class with one image, in cosine distance
    node.CSE.MARGIN_POWER = 0.25  # margins fall with count ** -power, as in LDAM
    node.CSE.GAMMA = 1.0  # weights fall with count ** -gamma


@TRAINER_REGISTRY.register()
class LMPT(PromptTrainer):
    """LMPT: contexts tuned by a balanced loss and by the images' captions."""

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse a share outside [0, 1]."""
        super().check_cfg(cfg)
        if not 0 <= self.method_cfg.LAMBDA <= 1:
            raise ValueError(
                f"TRAINER.LMPT.LAMBDA must be in [0, 1], got {self.method_cfg.LAMBDA}."
            )

    def build_learner(self) -> nn.Module:
        """Contexts, and the captions that they will meet."""
        learner = super().build_learner()
        general = self.method_cfg.M_CTX
        if not 0 <= general < learner.n_ctx:
            raise ValueError(
                f"TRAINER.LMPT.M_CTX must leave instance tokens: at least 0 and below the "
                f"{learner.n_ctx} context tokens, got {general}."
            )
        captions = self.dm.dataset.captions
        if captions is None:
            raise ValueError(
                f"LMPT needs captions of the training images and {self.cfg.DATASET.NAME} has none. "
                "Give a captions file (see docs/data.md), or train CoOp."
            )
        tokens = tokenize_captions([" ".join(texts) for texts in captions]).to(self.device)
        positions = learner.n_ctx - general  # P, instance tokens
        self.caption_words = tokens[:, 1 : 1 + positions]  # [N, P] behind the start token
        words = end_positions(tokens) - 1  # [N]
        self.is_word = torch.arange(positions, device=self.device) < words[:, None]  # [N, P]
        options = self.method_cfg.CSE
        counts = torch.as_tensor(self.dm.dataset.class_counts, device=self.device).clamp(min=1)
        self.margins = class_margins(counts, options.MARGIN, options.MARGIN_POWER)  # [C]
        self.weights = class_weights(counts, options.GAMMA)  # [C]
        return learner

    def compute_loss(
        self, logits: Tensor, targets: Tensor, batch: dict[str, Any]
    ) -> dict[str, Tensor]:
        """LAMBDA * classification loss + (1 - LAMBDA) * class-specific embedding loss."""
        classification = self.criterion(logits, targets)
        embedding = self.embedding_loss(targets, batch["index"].to(self.device))
        share = self.method_cfg.LAMBDA
        return {
            "loss": share * classification + (1 - share) * embedding,
            "loss_cls": classification,
            "loss_cse": embedding,
        }

    def embedding_loss(self, targets: Tensor, index: Tensor) -> Tensor:
        """Class-specific embedding loss of the images `index` [B] with targets [B, C]."""
        is_word = self.is_word[index]  # [B, P]
        words = self.clip.token_embedding(self.caption_words[index])  # [B, P, E]
        instance = self.prompt_learner.contexts()[:, self.method_cfg.M_CTX :]  # [C, P, E]
        distance = aligned_distance(words, instance, is_word)  # [B, C]
        # An image without a caption says nothing about any class: unknown, in the loss's terms.
        captioned = is_word.any(dim=1, keepdim=True)  # [B, 1]
        targets = torch.where(captioned, targets, -torch.ones_like(targets))
        return class_specific_embedding_loss(distance, targets, self.margins, self.weights)
