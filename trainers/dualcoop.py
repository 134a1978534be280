"""DualCoOp (Sun et al., NeurIPS 2022, https://arxiv.org/abs/2206.09541), and DualCoOp++.

Each class has a positive and a negative prompt. Regions are weighed, class by class, by how well
they fit the positive prompt; under these weights z+ and z- are the regions' similarities to the two
prompts. The softmax over (z-, z+) gives the class sigmoid(z+ - z-): the difference is the logit.

DualCoOp++ (Hu et al., https://arxiv.org/abs/2308.01890) leaves the weights to a third prompt, the
evidence, and lets classes compete for regions. We know of no official code; docs/methods.md says
where its details come from.
"""

from __future__ import annotations

from typing import Any

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn
from yacs.config import CfgNode

from common.choices import check_choice
from common.config_rules import Choice, declare_rules
from modeling.encoders.features import Views
from modeling.encoders.region_pooling import region_pool, winner_take_all
from trainers.base import PromptTrainer, prompt_options

COMPETITIONS = {"both": "always", "train": "in training alone", "off": "never"}


def extend_cfg(cfg: CfgNode) -> None:
    """Declare the keys of both trainers."""
    own = {
        "LOGIT_SCALE": 100.0,  # of the difference of pooled cosines; 0: CLIP's own
        "REGION_SCALE": 20.0,  # steepness of the softmax over regions that weighs them
        "REGION_SCALE_LEARNABLE": False,  # train it, from there
        "UNSEEN": [],  # names of classes whose labels training does not see (zero-shot)
    }
    cfg.TRAINER.DUALCOOP = prompt_options(CSC=True, **own)
    own |= {"LOGIT_SCALE": 20.0855, "REGION_SCALE": 20.0855, "REGION_SCALE_LEARNABLE": True}
    own |= {"N_CTX": 21}
    cfg.TRAINER.DUALCOOPPP = prompt_options(CSC=True, **own)
    cfg.TRAINER.DUALCOOPPP.WTA = "both"  # both | train | off: winner-take-all between classes
    for node in (cfg.TRAINER.DUALCOOP, cfg.TRAINER.DUALCOOPPP):
        del node["LOGIT_BIAS"]  # a difference is centred as it is


declare_rules("TRAINER.DUALCOOPPP", {"WTA": Choice(COMPETITIONS)})


@TRAINER_REGISTRY.register()
class DualCoOp(PromptTrainer):
    """DualCoOp: a positive and a negative prompt for each class, on regions."""

    roles = ("pos", "neg")

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse contexts that would never be trained."""
        super().check_cfg(cfg)
        if self.method_cfg.UNSEEN and self.method_cfg.CSC:
            node = f"TRAINER.{type(self).__name__.upper()}"
            raise ValueError(
                f"{node}.UNSEEN needs contexts that all classes share, for an unseen class would "
                f"keep untrained ones. Add: {node}.CSC False"
            )

    def build_image_encoder(self) -> nn.Module:
        """The image tower with its regions."""
        return self.dense_image_encoder()

    def build_learner(self) -> nn.Module:
        """Contexts of every role, and the scale of the regions' weights."""
        options, learner = self.method_cfg, super().build_learner()
        self.add_region_scale(learner)
        for name in options.UNSEEN:
            check_choice("UNSEEN", name, self.classnames)
        unseen = [name in options.UNSEEN for name in self.classnames]
        self.unseen = torch.tensor(unseen, device=self.device)  # [C]
        return learner

    def text_features(self) -> tuple[Tensor, ...]:
        """L2-normalised features of every role, [C, D] each."""
        learner = self.prompt_learner
        return tuple(
            self.text_encoder(learner(role), learner.eot, learner.shared_prefix)
            for role in self.roles
        )

    def cosines(self, views: Views, text_features: tuple[Tensor, ...]) -> Tensor:
        """Similarity to the positive prompt minus that to the negative one: [B, C]."""
        positive, negative = (views.local_features @ t.t() for t in text_features)  # [B, R, C]
        return region_pool(positive - negative, self.region_scale(positive), 1.0, views.mask)

    def compute_loss(
        self, logits: Tensor, targets: Tensor, batch: dict[str, Any]
    ) -> dict[str, Tensor]:
        """The loss over those classes that training may see."""
        return super().compute_loss(logits, targets.masked_fill(self.unseen, -1), batch)


@TRAINER_REGISTRY.register()
class DualCoOpPP(DualCoOp):
    """DualCoOp++: evidence prompts weigh the regions, for which classes compete."""

    roles = ("evid", "pos", "neg")

    def cosines(self, views: Views, text_features: tuple[Tensor, ...]) -> Tensor:
        """As in DualCoOp, with the evidence as guide and losers of a region turned down."""
        evidence, positive, negative = (views.local_features @ t.t() for t in text_features)
        competition = self.method_cfg.WTA
        if competition == "both" or (competition == "train" and self.prompt_learner.training):
            positive = winner_take_all(positive)
        return region_pool(positive - negative, self.region_scale(evidence), 1.0, views.mask)
