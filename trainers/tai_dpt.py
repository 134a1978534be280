"""TaI-DPT (Guo et al., CVPR 2023, https://arxiv.org/abs/2211.12739): captions in place of images.

Contexts are learnt from captions alone; images are seen at test only. A global prompt meets a
caption's end token, or an image as a whole; a local one meets its words, or an image's regions,
pooled class by class. Each branch has its own loss, and the test score is their mean.
"""

from __future__ import annotations

from typing import ClassVar

from dassl.engine import TRAINER_REGISTRY
from torch import Tensor
from yacs.config import CfgNode

from common.config.config_rules import Number, declare_rules
from modeling.encoders.features import Features
from modeling.encoders.region_pooling import region_pool
from modeling.prompts.prompt_model import PROMPT_OPTIONS, Batch, PromptModel
from trainers.base import PromptTrainer, method_node


class TaIDPTModel(PromptModel):
    """A global and a local prompt; images and captions are read alike."""

    defaults: ClassVar = {
        **PROMPT_OPTIONS,
        "LOGIT_SCALE": 4.0,  # with the ranking loss's margin of 1: a margin of 0.25 in cosines
        "REGION_WEIGHT": 0.5,  # share of the local branch in the test score; 0: no such branch
        "WORD_SCALE": 50.0,  # steepness of the softmax over a caption's words
        "REGION_SCALE": 40.0,  # and over an image's regions; the paper has 4 on NUS-WIDE
    }

    @property
    def roles(self) -> tuple[str, ...]:
        """Contexts of each branch."""
        return ("global", "local") if self.options.REGION_WEIGHT > 0 else ("global",)

    def text_features(self) -> list[Tensor]:
        """L2-normalised features of each branch, [C, D] each."""
        return [self.encode_role(role) for role in self.roles]

    def branches(self, features: Features, text: list[Tensor]) -> list[Tensor]:
        """Similarity [B, C] in each branch, of B captions or images."""
        whole, *local = text
        cosines = [features.global_features @ whole.t()]
        if local:
            parts = features.local_features @ local[0].t()  # [B, R, C]
            # Words and regions fit differently well: steepness that suits one ruins the other.
            is_text = features.mask is not None
            scale = self.options.WORD_SCALE if is_text else self.options.REGION_SCALE
            cosines.append(region_pool(parts, parts, scale, features.mask))
        return cosines

    def cosines(self, features: Features, text: list[Tensor]) -> Tensor:
        """Similarity [B, C]: the branches, weighted."""
        whole, *local = self.branches(features, text)
        return whole.lerp(local[0], self.options.REGION_WEIGHT) if local else whole

    def loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The sum of the branches' losses, each on logits of its own."""
        branches = self.branches(batch.features, batch.text)
        terms = [self.criterion(self.scale(cosines), targets) for cosines in branches]
        named = {f"loss_{r}": t for r, t in zip(self.roles, terms, strict=True)}
        return {"loss": sum(terms), **named}


declare_rules("TRAINER.TAIDPT", {"WORD_SCALE": Number(least=0)})


def extend_cfg(cfg: CfgNode) -> None:
    """Declare TaI-DPT's keys."""
    cfg.TRAINER.TAIDPT = method_node(TaIDPTModel)


@TRAINER_REGISTRY.register()
class TaIDPT(PromptTrainer):
    """TaI-DPT: a global and a local prompt, learnt from captions alone."""

    model_class = TaIDPTModel

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse to train on images."""
        super().check_cfg(cfg)
        evaluates = not cfg.DATASET.TRAIN_PICTURES  # which needs no captions
        if not cfg.DATASET.TEXT_AS_IMAGE and not evaluates:
            raise ValueError("TaIDPT is trained on captions. Add: DATASET.TEXT_AS_IMAGE True")
