"""PVLR (Tan et al., https://arxiv.org/abs/2401.17881), reconstructed from the public abstract.

No code and no full text were at hand; no number parity is claimed. Known are the parts: label
representations from fixed prompts (knowledge-aware, KAP) and from trained ones (context-aware,
CAP), an interaction of their channels (IFM), attention in both directions between labels and image
(DMA), and a class's score as the similarity of what comes out. How each part computes is our
choice, see modeling/heads/label_learner.py and modeling/heads/label_fusion.py. The image tower
stays frozen.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn
from yacs.config import CfgNode

from common.config.config_rules import Choice, Number, declare_rules
from modeling.encoders.features import Features
from modeling.encoders.region_pooling import region_pool
from modeling.heads.label_fusion import DIRECTIONS
from modeling.heads.label_learner import LABELS, LabelLearner
from modeling.prompts.class_prompts import check_sources, class_sentences, ensemble_features
from modeling.prompts.prompt_learner import PromptLearner
from modeling.prompts.prompt_model import Batch, PromptModel
from trainers.base import PromptTrainer, method_node

CONTEXTS = {
    "post": "trained tokens meet the names' features, behind the text tower",
    "pre": "trained tokens stand before the names, in the text tower",
}


class PVLRModel(PromptModel):
    """Knowledge-aware and context-aware labels that attend to regions, and back."""

    defaults: ClassVar = {
        "LABELS": "ifm",  # ifm | sum | kap | cap
        "CONTEXT_SIDE": "post",  # post | pre: which side of the text tower
        "N_CTX": 4,  # trained tokens of the context-aware label
        "TEMPLATE": "a photo of a {}.",  # KAP's prompt, or one of these in its place:
        "TEMPLATES": "",  # ours (assets/templates.txt) | a file, one template a line
        "DESCRIPTIONS": "",  # a JSON file, {class name: [sentences]}
        "CROSS_ATTENTION": "both",  # both | labels | regions | off: who attends to whom
        "HEADS": 8,  # of every attention; must divide the features' width
        "AGREEMENT": 0.0,  # weight of 1 - cos(KAP, CAP) in the loss
        "LOGIT_SCALE": 20.0,  # of the cosines; 0: CLIP's own, about 100
        "LOGIT_SCALE_LEARNABLE": True,  # train it, from there
        "COSINE_OFFSET": "off",  # off | fixed (the mean cosine before training) | learnt
        "REGION_SCALE": 20.0,  # steepness of the softmax over regions
        "REGION_SCALE_LEARNABLE": False,
        "CLASS_BIAS": -2.0,  # where every class's logit bias starts
    }
    needs_regions = True

    def build_learner(self) -> nn.Module:
        """Everything behind the towers, and contexts in the text tower if CONTEXT_SIDE is "pre"."""
        options, encoder, prompts, names = self.options, self.clip.text_encoder, None, None
        generator = torch.Generator().manual_seed(self.seed)
        if options.CONTEXT_SIDE != "post" and options.LABELS != "kap":
            prompts = PromptLearner(
                self.classnames, self.clip.clip_model, n_ctx=options.N_CTX, generator=generator
            )
        else:
            names = ensemble_features(class_sentences(self.classnames, "{}"), encoder)
        sources = (options.TEMPLATE, options.TEMPLATES, options.DESCRIPTIONS)
        known = class_sentences(self.classnames, *sources)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            learner = LabelLearner(
                ensemble_features(known, encoder),
                names,
                options.LABELS,
                options.N_CTX,
                options.CROSS_ATTENTION,
                options.HEADS,
                options.CLASS_BIAS,
                prompts,
            )
        learner.add_module("region_scale", self.region_scale())
        return learner

    def text_features(self) -> tuple[Tensor, Tensor]:
        """Fused label representations [C, D], and the disagreement of their sources."""
        names, prompts = self.learner.names, self.learner.prompts
        if prompts is not None:
            names = self.clip.encode_prompts(prompts(), prompts.eot, prompts.shared_prefix)
        labels, disagreement = self.learner.labels(names)
        return labels.float(), disagreement.float()

    def cosines(self, features: Features, text: tuple[Tensor, Tensor]) -> Tensor:
        """Similarity [B, C] of each class's label and the regions it pools."""
        cosines = self.learner(text[0], features)  # [B, R, C]
        return region_pool(cosines, self.learner.region_scale(cosines), 1.0, features.mask)

    def logits(self, features: Features, text: tuple[Tensor, Tensor]) -> Tensor:
        """Logits [B, C]: scaled cosines and a bias for each class."""
        return super().logits(features, text) + self.learner.class_bias

    def loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Classification loss + AGREEMENT * disagreement."""
        terms = super().loss(logits, targets, batch)
        weight = self.options.AGREEMENT
        if weight == 0:
            return terms
        disagreement = batch.text[1]
        return {
            "loss": terms["loss"] + weight * disagreement,
            "loss_cls": terms["loss"],
            "disagreement": disagreement,
        }


declare_rules(
    "TRAINER.PVLR",
    {
        "LABELS": Choice(LABELS),
        "CONTEXT_SIDE": Choice(CONTEXTS),
        "CROSS_ATTENTION": Choice(DIRECTIONS),
        "HEADS": Number(least=1),
        "AGREEMENT": Number(least=0),
        "CLASS_BIAS": Number(),
    },
)


def extend_cfg(cfg: CfgNode) -> None:
    """Declare PVLR's keys."""
    cfg.TRAINER.PVLR = method_node(PVLRModel)


@TRAINER_REGISTRY.register()
class PVLR(PromptTrainer):
    """PVLR: knowledge-aware and context-aware labels that attend to regions, and back."""

    model_class = PVLRModel
    class_specific = True  # a bias for each class

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse two sources of fixed prompts, and what would be ignored."""
        super().check_cfg(cfg)
        options = self.method_cfg
        sources = (options.TEMPLATE, options.TEMPLATES, options.DESCRIPTIONS)
        check_sources(*sources, "TRAINER.PVLR")
        if options.AGREEMENT > 0 and options.LABELS in ("kap", "cap"):
            raise ValueError(
                "TRAINER.PVLR.AGREEMENT must be 0 with one source of labels; got "
                f"{options.AGREEMENT} with LABELS {options.LABELS}."
            )
