"""Zero-shot CLIP (Radford et al., ICML 2021, https://arxiv.org/abs/2103.00020).

A class is one sentence, the mean of a template ensemble, or the mean of its descriptions.
"""

from __future__ import annotations

from dassl.engine import TRAINER_REGISTRY
from torch import Tensor
from yacs.config import CfgNode

from modeling.templates import (
    check_template,
    ensemble_features,
    fill,
    join_and_cut,
    read_descriptions,
    read_templates,
)
from trainers.base import REGIONS, PromptTrainer


def extend_cfg(cfg: CfgNode) -> None:
    """Declare the keys of zero-shot CLIP."""
    cfg.TRAINER.ZEROSHOTCLIP = CfgNode(
        {
            "TEMPLATE": "a photo of a {}.",  # {} stands for the class name
            # An ensemble in place of TEMPLATE: ours (assets/templates.txt) | a file, one a line.
            "TEMPLATES": "",
            # In place of both: a JSON file, {class name: [sentences]}.
            "DESCRIPTIONS": "",
            # Join a class's texts and cut them after so many characters; LMPT's release: 76.
            "JOIN": 0,  # 0: average their features instead
            "PREC": "fp32",  # fp32 | fp16 | bf16 | amp
            **REGIONS,
        }
    )


@TRAINER_REGISTRY.register()
class ZeroshotCLIP(PromptTrainer):
    """Zero-shot CLIP: sentences for each class, nothing trained."""

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse a template without a place for the class name, and two sources of sentences."""
        super().check_cfg(cfg)
        options = self.method_cfg
        check_template(options.TEMPLATE, "TRAINER.ZEROSHOTCLIP.TEMPLATE")
        if options.TEMPLATES and options.DESCRIPTIONS:
            raise ValueError(
                "TRAINER.ZEROSHOTCLIP takes TEMPLATES or DESCRIPTIONS, got both: "
                f"{options.TEMPLATES!r} and {options.DESCRIPTIONS!r}."
            )
        if options.JOIN < 0:
            raise ValueError(f"TRAINER.ZEROSHOTCLIP.JOIN must be 0 or more, got {options.JOIN}.")

    def build_learner(self) -> None:
        """Nothing is trained."""

    def text_features(self) -> Tensor:
        """Features of each class's sentences: [C, D]."""
        texts, characters = self.sentences(), self.method_cfg.JOIN
        if characters:
            texts = [[join_and_cut(own, characters)] for own in texts]
        return ensemble_features(texts, self.text_encoder)

    def sentences(self) -> list[list[str]]:
        """What is said of each of the C classes."""
        options = self.method_cfg
        if options.DESCRIPTIONS:
            return read_descriptions(options.DESCRIPTIONS, self.classnames)
        templates = read_templates(options.TEMPLATES) if options.TEMPLATES else [options.TEMPLATE]
        return [[fill(template, name) for template in templates] for name in self.classnames]
