"""The maths of a prompt method: class names and a CLIP in, logits and loss out.

A model knows no data set, no config file and no training loop. `trainers.base.PromptTrainer` trains
one; so does any loop of a few lines (docs/architecture.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from common.choices import hint
from modeling.encoders.features import Features
from modeling.encoders.frozen_clip import FrozenClip
from modeling.encoders.region_pooling import region_pool
from modeling.prompts.logit_scale import LogitScale
from modeling.prompts.prompt_learner import PromptLearner

# Options of a method that learns contexts, spelled as CoOp spells them.
PROMPT_OPTIONS: dict[str, Any] = {
    "N_CTX": 16,  # M, context tokens
    "CSC": False,  # class-specific contexts
    "CTX_INIT": "",  # words to start from; their number then replaces N_CTX
    "CLASS_TOKEN_POSITION": "end",  # end | middle | front
    "LOGIT_SCALE": 0.0,  # of the cosines; 0: CLIP's own, about 100
    "LOGIT_SCALE_LEARNABLE": False,  # train it, from there
    "COSINE_OFFSET": "off",  # off | fixed (the mean cosine before training) | learnt
}
# Options of a method that can look at regions beside the whole image.
REGION_OPTIONS: dict[str, Any] = {
    "REGION_WEIGHT": 0.0,  # share of the pooled regions in the similarity, in [0, 1]; 0: none
    "REGION_SCALE": 100.0,  # steepness of the softmax over regions that weighs them; 0: their mean
}

Loss = Callable[[Tensor, Tensor], Tensor]  # logits [B, C], targets [B, C] -> scalar


@dataclass(frozen=True)
class Batch:
    """What a loss may look at beside logits and targets.

    Attributes:
        features: of the B images, or captions in their place.
        text: what `PromptModel.text_features` returned.
        index: places in the training list [B].
        sample_seed: random numbers of this epoch [B], one for each image.
    """

    features: Features
    text: Any
    index: Tensor
    sample_seed: Tensor


class PromptModel(nn.Module):
    """A frozen CLIP with trainable contexts: CoOp's model, and what every other method changes.

    A method overrides some of `build_learner`, `text_features`, `cosines`, `logits` and `loss`.

    Args:
        classnames: C names.
        clip: the frozen towers.
        criterion: the classification loss; by default PyTorch's binary cross-entropy, which does
            not know unknown targets (-1), as those of `losses` do.
        seed: of random starts.
        **options: the method's keys (`defaults`) with other values, spelled as in a config file.

    Attributes:
        defaults: the method's options with their default values.
        needs_regions: whether it looks at regions whatever its options.
        trains: whether there is anything to train.
        roles: of the contexts, one set of them each; see `PromptLearner`.
        learner: everything that is trained, and nothing else is saved; None trains nothing.
        scale: from cosines to logits.
        options: all options, as attributes.

    Raises:
        ValueError: an unknown option, with the nearest valid one, or a CLIP without the regions
            that the method looks at.
    """

    defaults: ClassVar[Mapping[str, Any]] = {**PROMPT_OPTIONS, **REGION_OPTIONS}
    needs_regions = False
    trains = True
    roles: tuple[str, ...] = ("ctx",)

    def __init__(
        self,
        classnames: Sequence[str],
        clip: FrozenClip,
        criterion: Loss | None = None,
        seed: int = 0,
        **options: object,
    ) -> None:
        super().__init__()
        for name in options:
            if name not in self.defaults:
                raise ValueError(
                    f"{type(self).__name__} has no option {name!r}, only "
                    f"{', '.join(self.defaults)}.{hint(name, self.defaults)}"
                )
        if self.looks_at_regions({**self.defaults, **options}) and not clip.uses_regions:
            raise ValueError(
                f"{type(self).__name__} looks at regions and this CLIP reads none; build it with "
                "FrozenClip.load(..., regions=RegionOptions())."
            )
        self.classnames, self.clip, self.seed = list(classnames), clip, seed
        self.options = SimpleNamespace(**{**self.defaults, **options})
        self.criterion = criterion or nn.BCEWithLogitsLoss()
        self.scale = LogitScale(
            self.option("LOGIT_SCALE", 0.0) or clip.logit_scale,
            self.option("LOGIT_SCALE_LEARNABLE", False),
            self.option("COSINE_OFFSET", "off"),
        ).to(clip.device)
        self.learner = self.build_learner()
        if self.learner is not None:
            self.learner.add_module("affine", self.scale)  # trained and saved with it
            self.learner.to(clip.device)

    @classmethod
    def looks_at_regions(cls, options: Mapping[str, Any]) -> bool:
        """Whether it looks at regions beside the whole image, with these options."""
        return cls.needs_regions or options.get("REGION_WEIGHT", 0.0) > 0

    def option(self, name: str, absent: object) -> Any:  # noqa: ANN401 - as the option's type is
        """An option that not every method has."""
        return getattr(self.options, name, absent)

    def build_learner(self) -> nn.Module | None:
        """The trainable part; None for a method that trains nothing."""
        options = self.options
        learner = PromptLearner(
            self.classnames,
            self.clip.clip_model,
            self.roles,
            options.N_CTX,
            options.CSC,
            options.CTX_INIT,
            options.CLASS_TOKEN_POSITION,
            torch.Generator().manual_seed(self.seed),
        )
        if learner.n_ctx != options.N_CTX:
            print(f"CTX_INIT has {learner.n_ctx} tokens; N_CTX {options.N_CTX} is not used.")
        return learner

    def region_scale(self) -> LogitScale:
        """The steepness of the weights of regions, as REGION_SCALE says; it may be learnt."""
        learnable = self.option("REGION_SCALE_LEARNABLE", False)
        return LogitScale(self.options.REGION_SCALE, learnable, key="REGION_SCALE")

    def encode_role(self, role: str = "ctx", classes: Tensor | slice = slice(None)) -> Tensor:
        """L2-normalised text features [C, D] of one set of contexts, or of some classes alone."""
        learner = self.learner
        prompts, eot = learner(role, classes), learner.eot[classes]
        return self.clip.encode_prompts(prompts, eot, learner.shared_prefix)

    def text_features(self) -> Any:  # noqa: ANN401 - whatever the method's cosines need
        """One L2-normalised feature for each class: [C, D]. Computed once for an evaluation."""
        return self.encode_role()

    def cosines(self, features: Features, text: Any) -> Tensor:  # noqa: ANN401
        """Similarity [B, C] of B images and the classes, in [-1, 1].

        With REGION_WEIGHT w it is (1 - w) * global + w * regions, where each class pools the
        regions by a softmax over its own similarities (dense zero-shot CLIP of TaI-DPT, Guo et
        al., CVPR 2023).
        """
        cosines = features.global_features @ text.t()  # [B, C]
        weight = self.option("REGION_WEIGHT", 0.0)
        if weight == 0:
            return cosines
        regions = features.local_features @ text.t()  # [B, R, C]
        pooled = region_pool(regions, regions, self.options.REGION_SCALE, features.mask)  # [B, C]
        return cosines.lerp(pooled, weight)

    @torch.no_grad()
    def mean_cosine(self, batches: Iterable[Features]) -> Tensor:
        """Mean similarity of the images of some batches and all classes: a scalar."""
        text = self.text_features()
        return torch.cat([self.cosines(features, text) for features in batches]).mean()

    def logits(self, features: Features, text: Any) -> Tensor:  # noqa: ANN401
        """Logits [B, C], fp32: scaled cosines."""
        return self.scale(self.cosines(features, text))

    def mean_logits(self, features: Features, text: Any) -> Tensor:  # noqa: ANN401
        """Logits [B, C] of an evaluation: their mean, where it looks at several views."""
        views = self.clip.views_of(features)
        if len(views) == 1:
            return self.logits(features, text)
        return torch.stack([self.logits(view, text) for view in views]).mean(dim=0)

    def loss(self, logits: Tensor, targets: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Loss terms for the log; the one called "loss" is minimised.

        Args:
            logits: [B, C], fp32.
            targets: [B, C], 1 present, 0 absent, -1 unknown.
            batch: what else there is, all on the device.
        """
        return {"loss": self.criterion(logits, targets)}

    def terms(
        self, features: Features, targets: Tensor, index: Tensor, sample_seed: Tensor
    ) -> dict[str, Tensor]:
        """Loss terms of a training batch, from its features to its loss.

        Raises:
            ValueError: `loss` returned no dict with a term called "loss".
        """
        text, logits, targets = self.training_logits(features, targets, sample_seed)
        terms = self.loss(logits, targets, Batch(features, text, index, sample_seed))
        check_terms(type(self).__name__, terms)
        return terms

    def training_logits(
        self, features: Features, targets: Tensor, sample_seed: Tensor
    ) -> tuple[Any, Tensor, Tensor]:
        """Text features of a training step, its logits [B, C], and the targets that it may see."""
        text = self.autocast_text_features()
        return text, self.logits(features, text), targets

    def autocast_text_features(self) -> Any:  # noqa: ANN401
        """`text_features` in the precision of the towers."""
        with self.clip.autocast():
            return self.text_features()

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, C] of images [B, 3, H, W], CLIP's preprocessing done."""
        features = self.clip.encode_images(images.to(self.clip.device))
        return self.logits(features, self.autocast_text_features())


def check_terms(method: str, terms: object) -> None:
    """Refuse what a method's `loss` returned unless it has a term to minimise.

    Raises:
        ValueError: it is no dict, or has no "loss".
    """
    if isinstance(terms, dict) and "loss" in terms:
        return
    got = f"a dict of {', '.join(terms) or 'nothing'}" if isinstance(terms, dict) else type(terms)
    raise ValueError(
        f'{method}.loss must return a dict of loss terms, of which the one called "loss" is '
        f"minimised; got {got}."
    )
