"""TARP: a text-anchored region probe, for long-tailed multi-label sets.

Towers are frozen and no prompt is trained: each class has anchors, which are its text feature plus
residuals, which a penalty holds near it. A class looks at the regions several times, each time with
anchors of its own: regions are pooled by how well they fit the positive anchor, and score by the
positive minus the negative one. A soft minimum asks all looks for their consent, so that a class
may be several objects; the whole image speaks with the first. Small adapters, the same for all
classes, move the regions before: one for what weighs them, one for what scores them. Captions may
stand for images in a loss of their own, and a log prior of the classes is added to training's
logits.

Ours; its parts are those of TaskRes, DualCoOp, CLIP-Adapter, TaI-DPT and logit adjustment
(docs/methods.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn
from yacs.config import CfgNode

from common.config.config_rules import Choice, Number, declare_rules
from losses.log_prior import centred_log_prior
from modeling.encoders.features import Features
from modeling.encoders.frozen_clip import FrozenClip
from modeling.encoders.region_pooling import region_pool, soft_minimum
from modeling.heads.region_adapter import RegionAdapter
from modeling.heads.text_anchors import NEGATIVES, TextAnchors
from modeling.prompts.class_prompts import check_sources, class_sentences, ensemble_features
from modeling.prompts.logit_scale import LogitScale
from modeling.prompts.prompt_model import Batch, PromptModel
from trainers.base import PromptTrainer, method_node
from trainers.base.texts_beside_images import texts_beside_images

DrawTexts = Callable[[Tensor], tuple[Features, Tensor]]


class TARPModel(PromptModel):
    """Anchors near the classes' text features, for regions and for the whole image.

    Args:
        classnames: C names.
        clip: the frozen towers.
        class_counts: training images of each class [C], for the log prior; None adds none.
        labels: known training labels, which PULL is set against; 0 leaves the penalty out.
        texts: from random numbers [B] to the features of B labelled sentences and their targets
            [B, C]; None leaves the loss on captions out.
        **more: as of `PromptModel`.
    """

    defaults: ClassVar = {
        "TEMPLATE": "a photo of a {}.",  # what the anchors start from, or one of these instead:
        "TEMPLATES": "",  # ours (assets/templates.txt) | a file, one template a line
        "DESCRIPTIONS": "",  # a JSON file, {class name: [sentences]}
        "REGIONS": True,  # the branch of regions
        "LOOKS": 3,  # K, of a class at the regions, each with anchors of its own
        "SOFTNESS": 4.0,  # T of the soft minimum over looks; a large one is their mean
        "ADAPTER": 0,  # hidden units of each network that moves region features; 0: none
        "ADAPTER_DROPOUT": 0.6,  # share of them that training drops from an image
        "NEGATIVES": "learnt",  # learnt | mean | off: what regions are told apart from
        "RESIDUALS": True,  # anchors move away from the text features
        "LOGIT_SCALE": 20.0,  # s1, of the branch of regions
        "GLOBAL_SCALE": 5.0,  # s2, of the branch of the whole image; 0: no such branch
        "LOGIT_SCALE_LEARNABLE": True,  # train both, from there
        "REGION_SCALE": 20.0,  # beta, steepness of the softmax over regions
        "WORD_SCALE": 50.0,  # and over a caption's words
        "CLASS_BIAS": -4.0,  # where every class's logit bias starts
        "CLASS_BIAS_LEARNABLE": True,  # train them, from there
        "TAU": 1.0,  # of the log prior that is added to training's logits; 0: none
        "LAMBDA": 0.0,  # weight of the loss on captions, where the data set has some; 0: none
        # Of residuals and adapters towards 0: PULL / 2 x their squares, as one label weighs 1.
        "PULL": 40.0,
    }

    def __init__(
        self,
        classnames: Sequence[str],
        clip: FrozenClip,
        class_counts: Tensor | None = None,
        labels: int = 0,
        texts: DrawTexts | None = None,
        **more: Any,  # noqa: ANN401 - as PromptModel's
    ) -> None:
        super().__init__(classnames, clip, **more)
        self.texts, self.shift = texts, 0.0
        self.pull = self.options.PULL / labels if labels else 0.0
        if class_counts is not None:
            self.shift = self.options.TAU * centred_log_prior(class_counts.to(clip.device))  # [C]

    @classmethod
    def looks_at_regions(cls, options: dict[str, Any]) -> bool:
        """Whether the branch of regions is there."""
        return options["REGIONS"]

    def build_learner(self) -> nn.Module:
        """Anchors at the classes' text features, and the scales."""
        options = self.options
        sources = (options.TEMPLATE, options.TEMPLATES, options.DESCRIPTIONS)
        sentences = class_sentences(self.classnames, *sources)
        learner = TextAnchors(
            ensemble_features(sentences, self.clip.text_encoder),
            options.LOOKS if options.REGIONS else 0,
            options.GLOBAL_SCALE > 0,
            options.NEGATIVES,
            options.RESIDUALS,
            options.CLASS_BIAS,
            options.CLASS_BIAS_LEARNABLE,
            torch.Generator().manual_seed(self.seed),
        )
        whole = LogitScale(options.GLOBAL_SCALE, learner.whole and options.LOGIT_SCALE_LEARNABLE)
        if options.REGIONS:
            learner.global_scale = whole
            if options.ADAPTER:
                sizes = learner.texts.shape[1], options.ADAPTER, options.ADAPTER_DROPOUT
                seeds = 2 * self.seed, 2 * self.seed + 1  # of what scores regions, and weighs them
                learner.adapters = nn.ModuleList(RegionAdapter(*sizes, seed) for seed in seeds)
        elif learner.whole:
            self.scale = whole.to(self.clip.device)
        else:
            raise ValueError("REGIONS False and GLOBAL_SCALE 0 leave nothing; change one of them.")
        return learner

    def text_features(self) -> tuple[Tensor, ...]:
        """The anchors; see `TextAnchors.forward`."""
        return self.learner()

    def looks(self, features: Features, text: tuple[Tensor, ...]) -> Tensor:
        """Pooled similarity [B, K, C] of regions, or of words, at each look."""
        options, regions = self.options, features.local_features
        with self.clip.autocast():  # here the time of a step goes
            if options.ADAPTER:
                pairs = zip(self.learner.adapters, text[:2], strict=True)
                margin, fit = (adapter.similarity(regions, a) for adapter, a in pairs)
            else:
                margin, fit = (regions @ torch.cat(text[:2]).t()).chunk(2, dim=2)
        # margin, fit: [B, R, K C]
        is_text = features.mask is not None
        steepness = options.WORD_SCALE if is_text else options.REGION_SCALE
        pooled = region_pool(margin, fit, steepness, features.mask)
        return pooled.unflatten(1, (options.LOOKS, -1))

    def cosines(self, features: Features, text: tuple[Tensor, ...]) -> Tensor:
        """Similarity [B, C]: mean of the looks, or of the whole image where these are off."""
        if self.options.REGIONS:
            return self.looks(features, text).mean(dim=1)
        return features.global_features @ text[0].t()

    def logits(self, features: Features, text: tuple[Tensor, ...]) -> Tensor:
        """Logits [B, C]: what all looks agree on, and a bias for each class."""
        if not self.options.REGIONS:
            return super().logits(features, text) + self.learner.class_bias
        looks = self.scale(self.looks(features, text))  # [B, K, C]
        if self.learner.whole:
            whole = self.learner.global_scale(features.global_features @ text[2].t())
            looks = torch.cat([looks[:, :1] + whole[:, None], looks[:, 1:]], dim=1)
        return soft_minimum(looks, self.options.SOFTNESS) + self.learner.class_bias

    def penalty(self) -> Tensor:
        """Squares of what PULL holds near 0: residuals, and the adapters' last layers."""
        adapters = getattr(self.learner, "adapters", ())
        return sum((adapter.square() for adapter in adapters), self.learner.square())

    def loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The loss on images, the penalty, and LAMBDA * the loss on as many captions.

        Logits are judged with the log prior.
        """
        images = self.criterion(logits + self.shift, targets)
        loss = images + self.pull / 2 * self.penalty() if self.pull else images
        if self.texts is None:
            return {"loss": loss, "loss_images": images}
        features, labels = self.texts(batch.sample_seed)
        captions = self.criterion(self.logits(features, batch.text) + self.shift, labels)
        loss = loss + self.options.LAMBDA * captions
        return {"loss": loss, "loss_images": images, "loss_captions": captions}


declare_rules(
    "TRAINER.TARP",
    {
        "NEGATIVES": Choice(NEGATIVES),
        "GLOBAL_SCALE": Number(least=0),
        "WORD_SCALE": Number(least=0),
        "CLASS_BIAS": Number(),
        "TAU": Number(least=0),
        "LAMBDA": Number(least=0),
        "LOOKS": Number(least=1, whole=True),
        "PULL": Number(least=0),
        "SOFTNESS": Number(above=0),
        "ADAPTER": Number(least=0, whole=True),
        "ADAPTER_DROPOUT": Number(least=0, below=1),
    },
)


def extend_cfg(cfg: CfgNode) -> None:
    """Declare TARP's keys."""
    cfg.TRAINER.TARP = method_node(TARPModel)


@TRAINER_REGISTRY.register()
class TARP(PromptTrainer):
    """TARP: text features with residuals as anchors of regions and of the whole image."""

    model_class = TARPModel
    class_specific = True  # residuals and a bias for each class

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse two sources of sentences, and switches that leave nothing to train."""
        super().check_cfg(cfg)
        options = self.method_cfg
        check_sources(options.TEMPLATE, options.TEMPLATES, options.DESCRIPTIONS, "TRAINER.TARP")
        trained = ("RESIDUALS", "LOGIT_SCALE_LEARNABLE", "CLASS_BIAS_LEARNABLE")
        adapts = options.REGIONS and options.ADAPTER > 0
        if not adapts and not any(options[key] for key in trained):
            raise ValueError(
                f"TARP would train nothing; set one of TRAINER.TARP.{', '.join(trained)} True, or "
                "ADAPTER above 0 with REGIONS True."
            )

    def model_arguments(self) -> dict[str, Any]:
        """The classes' counts, and labelled captions where the loss on them counts.

        Raises:
            ValueError: there are captions, and none can be used.
        """
        arguments = {
            "class_counts": self.data.class_counts,
            "labels": self.data.num_known,
        }
        if self.method_cfg.LAMBDA == 0:
            return arguments
        try:
            texts = texts_beside_images(self.data)
        except ValueError as error:
            raise ValueError(f"{error} Or do without: TRAINER.TARP.LAMBDA 0") from error
        return arguments if texts is None else {**arguments, "texts": texts.draw}
