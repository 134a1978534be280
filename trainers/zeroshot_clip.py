"""Zero-shot CLIP (Radford et al., ICML 2021, https://arxiv.org/abs/2103.00020).

A class is one sentence, the mean of a template ensemble, or the mean of its descriptions.
"""

from __future__ import annotations

from typing import ClassVar

from dassl.engine import TRAINER_REGISTRY
from torch import Tensor
from yacs.config import CfgNode

from common.config.config_rules import Number, declare_rules
from modeling.prompts.class_prompts import (
    check_sources,
    class_sentences,
    concatenate_and_truncate,
    ensemble_features,
)
from modeling.prompts.logit_scale import LogitScale
from modeling.prompts.prompt_model import REGION_OPTIONS, PromptModel
from trainers.base import PromptTrainer, method_node


class ZeroshotModel(PromptModel):
    """Sentences for each class; nothing is trained."""

    defaults: ClassVar = {
        "TEMPLATE": "a photo of a {}.",  # {} stands for the class name
        # An ensemble in place of TEMPLATE: ours (assets/templates.txt) | a file, one a line.
        "TEMPLATES": "",
        # In place of both: a JSON file, {class name: [sentences]}.
        "DESCRIPTIONS": "",
        # Join a class's texts and cut them after so many characters; LMPT's release: 76.
        "JOIN": 0,  # 0: average their features instead
        **REGION_OPTIONS,
    }

    trains = False

    def build_learner(self) -> None:
        """Nothing is trained; these logits have the bias of the towers' own, as SigLIP's."""
        offset = self.clip.cosine_offset
        if offset is not None:
            self.scale = LogitScale(self.clip.logit_scale, offset="fixed").to(self.clip.device)
            self.scale.set_offset(offset)

    def text_features(self) -> Tensor:
        """Features of each class's sentences: [C, D]."""
        options = self.options
        sources = (options.TEMPLATE, options.TEMPLATES, options.DESCRIPTIONS)
        texts = class_sentences(self.classnames, *sources)
        if options.JOIN:
            texts = [[concatenate_and_truncate(own, options.JOIN)] for own in texts]
        return ensemble_features(texts, self.clip.text_encoder)


declare_rules("TRAINER.ZEROSHOTCLIP", {"JOIN": Number(least=0)})


def extend_cfg(cfg: CfgNode) -> None:
    """Declare the keys of zero-shot CLIP."""
    cfg.TRAINER.ZEROSHOTCLIP = method_node(ZeroshotModel)


@TRAINER_REGISTRY.register()
class ZeroshotCLIP(PromptTrainer):
    """Zero-shot CLIP: sentences for each class, nothing trained."""

    model_class = ZeroshotModel

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse a template without a place for the class name, and two sources of sentences."""
        super().check_cfg(cfg)
        options = self.method_cfg
        sources = (options.TEMPLATE, options.TEMPLATES, options.DESCRIPTIONS)
        check_sources(*sources, "TRAINER.ZEROSHOTCLIP")
