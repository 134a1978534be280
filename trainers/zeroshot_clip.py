"""Zero-shot CLIP (Radford et al., ICML 2021, https://arxiv.org/abs/2103.00020)."""

from __future__ import annotations

from dassl.engine import TRAINER_REGISTRY
from torch import Tensor
from yacs.config import CfgNode

from modeling.clip_loader import tokenize
from trainers.base import PromptTrainer


def extend_cfg(cfg: CfgNode) -> None:
    """Declare the keys of zero-shot CLIP."""
    cfg.TRAINER.ZEROSHOTCLIP = CfgNode(
        {
            "TEMPLATE": "a photo of a {}.",  # {} stands for the class name
            "PREC": "fp32",  # fp32 | fp16 | bf16 | amp
        }
    )


@TRAINER_REGISTRY.register()
class ZeroshotCLIP(PromptTrainer):
    """Zero-shot CLIP: one sentence for each class, nothing trained."""

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse a template without a place for the class name."""
        super().check_cfg(cfg)
        if self.method_cfg.TEMPLATE.count("{}") != 1:
            raise ValueError(
                "TRAINER.ZEROSHOTCLIP.TEMPLATE must hold {} once, where the class name goes, "
                f"got {self.method_cfg.TEMPLATE!r}."
            )

    def build_learner(self) -> None:
        """Nothing is trained."""

    def text_features(self) -> Tensor:
        """Features of the filled templates: [C, D]."""
        texts = [self.method_cfg.TEMPLATE.format(name) for name in self.classnames]
        return self.text_encoder.encode_tokens(tokenize(texts).to(self.device))
