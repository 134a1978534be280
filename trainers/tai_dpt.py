"""TaI-DPT (Guo et al., CVPR 2023, https://arxiv.org/abs/2211.12739): captions in place of images.

Contexts are learnt from captions alone; images are seen at test only. A global prompt meets a
caption's end token, or an image as a whole; a local one meets its words, or an image's regions,
pooled class by class. Each branch has its own loss, and the test score is their mean.
"""

from __future__ import annotations

from typing import Any

from dassl.engine import TRAINER_REGISTRY
from torch import Tensor
from yacs.config import CfgNode

from common.config_rules import Number, declare_rules
from modeling.encoders.features import Views
from modeling.encoders.region_pooling import region_pool
from trainers.base import PromptTrainer, prompt_options


def extend_cfg(cfg: CfgNode) -> None:
    """Declare TaI-DPT's keys."""
    cfg.TRAINER.TAIDPT = prompt_options(
        LOGIT_SCALE=4.0,  # with the ranking loss's margin of 1: a margin of 0.25 in cosines
        REGION_WEIGHT=0.5,  # share of the local branch in the test score; 0: no such branch
        WORD_SCALE=50.0,  # steepness of the softmax over a caption's words
        REGION_SCALE=40.0,  # and over an image's regions; the paper has 4 on NUS-WIDE
    )


declare_rules("TRAINER.TAIDPT", {"WORD_SCALE": Number(least=0)})


@TRAINER_REGISTRY.register()
class TaIDPT(PromptTrainer):
    """TaI-DPT: a global and a local prompt, learnt from captions alone."""

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse to train on images."""
        super().check_cfg(cfg)
        if not cfg.DATASET.TEXT_AS_IMAGE:
            raise ValueError("TaIDPT is trained on captions. Add: DATASET.TEXT_AS_IMAGE True")

    @property
    def roles(self) -> tuple[str, ...]:
        """Contexts of each branch."""
        return ("global", "local") if self.method_cfg.REGION_WEIGHT > 0 else ("global",)

    def text_features(self) -> list[Tensor]:
        """L2-normalised features of each branch, [C, D] each."""
        learner, encode = self.prompt_learner, self.text_encoder
        return [encode(learner(r), learner.eot, learner.shared_prefix) for r in self.roles]

    def branches(self, views: Views, text_features: list[Tensor]) -> list[Tensor]:
        """Similarity [B, C] in each branch, of B views of captions or images."""
        whole, *local = text_features
        cosines = [views.global_features @ whole.t()]
        if local:
            parts = views.local_features @ local[0].t()  # [B, R, C]
            # Words and regions fit differently well: steepness that suits one ruins the other.
            is_text = views.mask is not None
            scale = self.method_cfg.WORD_SCALE if is_text else self.method_cfg.REGION_SCALE
            cosines.append(region_pool(parts, parts, scale, views.mask))
        return cosines

    def cosines(self, views: Views, text_features: list[Tensor]) -> Tensor:
        """Similarity [B, C]: the branches, weighted."""
        whole, *local = self.branches(views, text_features)
        return whole.lerp(local[0], self.method_cfg.REGION_WEIGHT) if local else whole

    def compute_loss(
        self, logits: Tensor, targets: Tensor, batch: dict[str, Any]
    ) -> dict[str, Tensor]:
        """The sum of the branches' losses, each on logits of its own."""
        branches = self.branches(batch["views"], batch["text_features"])
        terms = [self.criterion(self.affine(cosines), targets) for cosines in branches]
        named = {f"loss_{r}": t for r, t in zip(self.roles, terms, strict=True)}
        return {"loss": sum(terms), **named}
