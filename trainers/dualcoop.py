"""DualCoOp (Sun et al., NeurIPS 2022, https://arxiv.org/abs/2206.09541), and DualCoOp++.

Each class has a positive and a negative prompt. Regions are weighed, class by class, by how well
they fit the positive prompt; under these weights z+ and z- are the regions' similarities to the two
prompts. The softmax over (z-, z+) gives the class sigmoid(z+ - z-): the difference is the logit.

DualCoOp++ (Hu et al., https://arxiv.org/abs/2308.01890) leaves the weights to a third prompt, the
evidence, and lets classes compete for regions. We know of no official code; docs/methods.md says
where its details come from.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn
from yacs.config import CfgNode

from common.choices import check_choice
from common.config.config_rules import Choice, Number, declare_rules
from modeling.encoders.features import Features
from modeling.encoders.region_pooling import region_pool, winner_take_all
from modeling.prompts.class_draw import draw_classes
from modeling.prompts.prompt_model import PROMPT_OPTIONS, Batch, PromptModel
from trainers.base import PromptTrainer, method_node

COMPETITIONS = {"both": "always", "train": "in training alone", "off": "never"}


class DualCoOpModel(PromptModel):
    """A positive and a negative prompt for each class, on regions."""

    roles = ("pos", "neg")
    needs_regions = True
    defaults: ClassVar = {
        **PROMPT_OPTIONS,
        "CSC": True,
        "LOGIT_SCALE": 100.0,  # of the difference of pooled cosines; 0: CLIP's own
        "REGION_SCALE": 20.0,  # steepness of the softmax over regions that weighs them
        "REGION_SCALE_LEARNABLE": False,  # train it, from there
        "CLASSES_PER_STEP": 0,  # so many, drawn anew for each batch; 0: all
        "UNSEEN": [],  # names of classes whose labels training does not see (zero-shot)
    }
    del defaults["COSINE_OFFSET"]  # a difference is centred as it is

    def build_learner(self) -> nn.Module:
        """Contexts of every role, and the scale of the regions' weights."""
        learner = super().build_learner()
        learner.add_module("region_scale", self.region_scale())
        for name in self.options.UNSEEN:
            check_choice("UNSEEN", name, self.classnames)
        unseen = [name in self.options.UNSEEN for name in self.classnames]
        self.unseen = torch.tensor(unseen, device=self.clip.device)  # [C]
        return learner

    def text_features(self) -> tuple[Tensor, ...]:
        """L2-normalised features of every role, [C, D] each."""
        return tuple(self.encode_role(role) for role in self.roles)

    def cosines(self, features: Features, text: tuple[Tensor, ...]) -> Tensor:
        """Similarity to the positive prompt minus that to the negative one: [B, C]."""
        positive, negative = (features.local_features @ t.t() for t in text)  # [B, R, C]
        guide = self.learner.region_scale(positive)
        return region_pool(positive - negative, guide, 1.0, features.mask)

    def training_logits(
        self, features: Features, targets: Tensor, sample_seed: Tensor
    ) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        """As in every method; with CLASSES_PER_STEP, labels of classes not drawn are unknown."""
        count = self.options.CLASSES_PER_STEP
        if not 0 < count < len(self.classnames):
            return super().training_logits(features, targets, sample_seed)
        known = ((targets >= 0) & ~self.unseen).any(dim=0)  # [C]
        drawn = draw_classes(sample_seed, known, count)  # [K]
        with self.clip.autocast():
            text = tuple(self.encode_role(role, drawn) for role in self.roles)  # [K, D] each
        own = self.logits(features, text)  # [B, K]
        logits = own.new_zeros(targets.shape).index_copy(1, drawn, own)
        others = torch.ones_like(self.unseen).index_fill(0, drawn, False)  # [C]
        return text, logits, targets.masked_fill(others, -1)

    def loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The loss over those classes that training may see."""
        return super().loss(logits, targets.masked_fill(self.unseen, -1), batch)


class DualCoOpPPModel(DualCoOpModel):
    """Evidence prompts weigh the regions, for which classes compete."""

    roles = ("evidence", "pos", "neg")
    defaults: ClassVar = {
        **DualCoOpModel.defaults,
        "N_CTX": 21,
        "LOGIT_SCALE": 20.0855,
        "REGION_SCALE": 20.0855,
        "REGION_SCALE_LEARNABLE": True,
        "WINNER_TAKES_ALL": "both",  # both | train | off: classes compete for regions
    }

    def cosines(self, features: Features, text: tuple[Tensor, ...]) -> Tensor:
        """As in DualCoOp, with the evidence as guide and losers of a region turned down."""
        evidence, positive, negative = (features.local_features @ t.t() for t in text)
        competition = self.options.WINNER_TAKES_ALL
        if competition == "both" or (competition == "train" and self.learner.training):
            positive = winner_take_all(positive)
        guide = self.learner.region_scale(evidence)
        return region_pool(positive - negative, guide, 1.0, features.mask)


_DRAW = {"CLASSES_PER_STEP": Number(least=0)}
declare_rules("TRAINER.DUALCOOP", _DRAW)
declare_rules("TRAINER.DUALCOOPPP", {**_DRAW, "WINNER_TAKES_ALL": Choice(COMPETITIONS)})


def extend_cfg(cfg: CfgNode) -> None:
    """Declare the keys of both trainers."""
    cfg.TRAINER.DUALCOOP = method_node(DualCoOpModel)
    cfg.TRAINER.DUALCOOPPP = method_node(DualCoOpPPModel)


@TRAINER_REGISTRY.register()
class DualCoOp(PromptTrainer):
    """DualCoOp: a positive and a negative prompt for each class, on regions."""

    model_class = DualCoOpModel

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse contexts that would never be trained."""
        super().check_cfg(cfg)
        if self.method_cfg.UNSEEN and self.method_cfg.CSC:
            node = f"TRAINER.{type(self).__name__.upper()}"
            raise ValueError(
                f"{node}.UNSEEN needs contexts that all classes share, for an unseen class would "
                f"keep untrained ones. Add: {node}.CSC False"
            )


@TRAINER_REGISTRY.register()
class DualCoOpPP(DualCoOp):
    """DualCoOp++: evidence prompts weigh the regions, for which classes compete."""

    model_class = DualCoOpPPModel
