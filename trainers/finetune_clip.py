"""A linear classifier on CLIP's image features, with the image tower frozen or fine-tuned.

Linear probe: Radford et al., ICML 2021, https://arxiv.org/abs/2103.00020. Starting the classifier
from the text features: Wortsman et al., CVPR 2022, https://arxiv.org/abs/2109.01903.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn
from yacs.config import CfgNode

from common.config.config_rules import Choice, Number, declare_rules
from modeling.encoders.features import Features
from modeling.heads.linear_head import STARTS, Classifier, LinearHead, start_weights
from modeling.prompts.class_prompts import check_template, class_sentences, ensemble_features
from modeling.prompts.prompt_model import PromptModel
from trainers.base import PromptTrainer, method_node
from trainers.base.options import TRAINABLE_PREC


class LinearProbeModel(PromptModel):
    """A trained classifier on the image tower's features."""

    defaults: ClassVar = {
        "INIT": "text",  # text | zeros | random: the classifier's weights before training
        "TEMPLATE": "a photo of a {}.",  # of INIT text; {} stands for the class name
        "CENTRE": True,  # start the biases where the mean logit is 0, so that sigmoids can learn
    }

    def build_learner(self) -> nn.Module:
        """The classifier, started as INIT says."""
        options = self.options
        texts = class_sentences(self.classnames, options.TEMPLATE)
        start = start_weights(
            options.INIT,
            ensemble_features(texts, self.clip.text_encoder),
            self.clip.logit_scale,
            torch.Generator().manual_seed(self.seed),
        )  # [C, D]
        return Classifier(LinearHead(start), self.tuned_image_encoder())

    def tuned_image_encoder(self) -> nn.Module | None:
        """The image tower, where it is trained."""
        return None

    def text_features(self) -> None:
        """Texts play no part after the start."""

    def cosines(self, features: Features, text: Any) -> Tensor:  # noqa: ANN401
        """The classifier's outputs [B, C]; CLIP's scale is in its weights already."""
        return self.learner.head(features.global_features)

    logits = cosines


class FinetuneModel(LinearProbeModel):
    """A classifier and the image tower under it."""

    def tuned_image_encoder(self) -> nn.Module:
        """CLIP's own image tower, which `clip.encode_images` runs."""
        return self.clip.clip_model.visual


declare_rules("TRAINER.LINEARPROBE", {"INIT": Choice(STARTS)})
declare_rules(
    "TRAINER.FINETUNECLIP",
    {"INIT": Choice(STARTS), "PREC": TRAINABLE_PREC, "ENCODER_LR_MULT": Number(least=0)},
)


def extend_cfg(cfg: CfgNode) -> None:
    """Declare the keys of both trainers."""
    cfg.TRAINER.LINEARPROBE = method_node(LinearProbeModel)
    cfg.TRAINER.FINETUNECLIP = method_node(
        FinetuneModel,
        ENCODER_LR_MULT=0.1,  # the image tower learns at this * OPTIM.LR
    )


@TRAINER_REGISTRY.register()
class LinearProbe(PromptTrainer):
    """Linear probe: a trained classifier on the frozen image tower."""

    model_class = LinearProbeModel
    learner_name = "model"
    class_specific = True  # a row of the classifier for each class

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse a template without a place for the class name."""
        super().check_cfg(cfg)
        key = f"TRAINER.{type(self).__name__.upper()}.TEMPLATE"
        check_template(self.method_cfg.TEMPLATE, key)

    def set_offset(self) -> None:
        """Start the biases where the mean logit is 0, unless the classifier has learnt already."""
        if self.method_cfg.CENTRE and not self.cfg.MODEL.INIT_WEIGHTS:
            mean = self.model.mean_cosine(self.data.first_features())  # of its logits
            self.model.learner.head.set_offset(mean)


@TRAINER_REGISTRY.register()
class FinetuneCLIP(LinearProbe):
    """Fine-tuned CLIP: a classifier and the image tower under it, trained together."""

    model_class = FinetuneModel
    tunes_image_encoder = True

    def param_groups(self, learner: nn.Module) -> list[dict[str, Any]]:
        """The classifier at OPTIM.LR, the image tower, which has learnt already, below it."""
        rate = self.cfg.OPTIM.LR * self.method_cfg.ENCODER_LR_MULT
        return [
            {"params": list(learner.head.parameters())},
            {"params": list(learner.visual.parameters()), "lr": rate},
        ]
