"""A linear classifier on CLIP's image features, with the image tower frozen or fine-tuned.

Linear probe: Radford et al., ICML 2021, https://arxiv.org/abs/2103.00020. Starting the classifier
from the text features: Wortsman et al., CVPR 2022, https://arxiv.org/abs/2109.01903.
"""

from __future__ import annotations

from typing import Any

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn
from yacs.config import CfgNode

from common.config_rules import Choice, Number, declare_rules
from modeling.encoders.features import Views
from modeling.heads.linear_head import STARTS, Classifier, LinearHead, start_weights
from modeling.prompts.class_prompts import check_template, class_sentences, ensemble_features
from trainers.base import PromptTrainer

_TRAINABLE = Choice(
    ("fp32", "amp"),
    why="Half-precision weights lose small steps and turn NaN under AdamW. amp is as fast and "
    "keeps them in fp32.",
)


def extend_cfg(cfg: CfgNode) -> None:
    """Declare the keys of both trainers."""
    options = {
        "INIT": "text",  # text | zeros | random: the classifier's weights before training
        "TEMPLATE": "a photo of a {}.",  # of INIT text; {} stands for the class name
        "CENTRE": True,  # start the biases where the mean logit is 0, so that sigmoids can learn
        "PREC": "fp32",  # fp32 | fp16 | bf16 | amp; FinetuneCLIP: fp32 | amp
    }
    cfg.TRAINER.LINEARPROBE = CfgNode(dict(options))
    cfg.TRAINER.FINETUNECLIP = CfgNode(dict(options))
    cfg.TRAINER.FINETUNECLIP.ENCODER_LR_MULT = 0.1  # the image tower learns at this * OPTIM.LR


declare_rules("TRAINER.LINEARPROBE", {"INIT": Choice(STARTS)})
declare_rules(
    "TRAINER.FINETUNECLIP",
    {"INIT": Choice(STARTS), "PREC": _TRAINABLE, "ENCODER_LR_MULT": Number(least=0)},
)


@TRAINER_REGISTRY.register()
class LinearProbe(PromptTrainer):
    """Linear probe: a trained classifier on the frozen image tower."""

    learner_name = "model"
    class_specific = True  # a row of the classifier for each class

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse a template without a place for the class name."""
        super().check_cfg(cfg)
        key = f"TRAINER.{type(self).__name__.upper()}.TEMPLATE"
        check_template(self.method_cfg.TEMPLATE, key)

    def build_learner(self) -> nn.Module:
        """The classifier, started as INIT says."""
        options = self.method_cfg
        texts = class_sentences(self.classnames, options.TEMPLATE)
        start = start_weights(
            options.INIT,
            ensemble_features(texts, self.text_encoder),
            self.clip.logit_scale.exp().item(),
            torch.Generator().manual_seed(self.seed),
        )  # [C, D]
        return Classifier(LinearHead(start), self.trained_encoder())

    def trained_encoder(self) -> nn.Module | None:
        """The image tower, where it is trained."""
        return None

    def text_features(self) -> None:
        """Texts play no part after the start."""

    def cosines(self, views: Views, text_features: Any) -> Tensor:  # noqa: ANN401
        """The classifier's outputs [B, C]; CLIP's scale is in its weights already."""
        return self.prompt_learner.head(views.global_features)

    compute_logits = cosines

    def before_train(self) -> None:
        """Centre the classifier, unless it has learnt already."""
        if self.method_cfg.CENTRE and not self.cfg.MODEL.INIT_WEIGHTS:
            self.prompt_learner.head.centre(self._mean_cosine())
        super().before_train()  # a resumed run's own classifier comes last


@TRAINER_REGISTRY.register()
class FinetuneCLIP(LinearProbe):
    """Fine-tuned CLIP: a classifier and the image tower under it, trained together."""

    encoder_trains = True

    def trained_encoder(self) -> nn.Module:
        """CLIP's own image tower, which `image_encoder` runs."""
        return self.clip.visual

    def param_groups(self, learner: nn.Module) -> list[dict[str, Any]]:
        """The classifier at OPTIM.LR, the image tower, which has learnt already, below it."""
        rate = self.cfg.OPTIM.LR * self.method_cfg.ENCODER_LR_MULT
        return [
            {"params": list(learner.head.parameters())},
            {"params": list(learner.visual.parameters()), "lr": rate},
        ]
