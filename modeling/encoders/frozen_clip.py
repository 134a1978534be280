"""A frozen CLIP: images, captions and prompts in, normalised features out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from common.ranks import gather_rows, share, world_size
from common.threads import step_threads, threads
from modeling.clip.clip_file import AUTO
from modeling.clip.precision import Precision
from modeling.clip.tokenizer import Tokenizer
from modeling.encoders.dense_image_encoder import DenseImageEncoder
from modeling.encoders.features import Features
from modeling.encoders.image_encoder import ImageEncoder
from modeling.encoders.image_views import ResizableImageEncoder, View, ViewsEncoder
from modeling.encoders.region_image_encoder import RegionImageEncoder
from modeling.encoders.text_encoder import TextEncoder
from modeling.towers.backbones import load_backbone
from modeling.towers.image_tower import ImageTower

_PROMPTS_OF_A_RANK = 8  # fewer fill no processor, and waiting for other ranks costs more


@dataclass(frozen=True)
class RegionOptions:
    """How regions are read from an image tower; see `DenseImageEncoder`.

    Attributes:
        pos_embed: ResNet: add the attention pool's positions.
        mean_token: ResNet: the mean of the regions is one more region.
        vit: "value" (the last block's value path) or "last" (its plain output).
    """

    pos_embed: bool = False
    mean_token: bool = False
    vit: str = "value"


class FrozenClip:
    """Both towers of a CLIP, in one precision on one device.

    It is no `nn.Module`: a model that holds one neither trains nor saves CLIP's weights.

    Args:
        clip_model: a frozen `clip.model.CLIP` or `DualTower`, as `load_backbone` returns it, on its
            device.
        precision: the precision it was loaded in; one of `modeling.clip.precision.PRECISIONS`.
        regions: how to read regions beside the whole image; None reads none.

    Attributes:
        clip_model: the CLIP itself.
        image_encoder: images [B, 3, H, W] to `Features`.
        test_encoder: the same in evaluations, which may look at several views (`look_at_views`).
        text_encoder: prompts to features [C, D].
        precision: autocast, and the gradient scaler that goes with it.
        device: where the towers lie.
        uses_regions: whether images, and captions in their place, come with local features.
    """

    def __init__(
        self, clip_model: nn.Module, precision: str = "fp32", regions: RegionOptions | None = None
    ) -> None:
        self.clip_model = clip_model
        self.device = clip_model.logit_scale.device
        self.precision = Precision(precision, self.device)
        self.text_encoder = TextEncoder(clip_model)
        self.image_encoder: nn.Module
        self.uses_regions = regions is not None
        if regions is None:
            self.image_encoder = ImageEncoder(clip_model)
        else:
            is_foreign = isinstance(clip_model.visual, ImageTower)
            encoder = RegionImageEncoder if is_foreign else DenseImageEncoder
            self.image_encoder = encoder(
                clip_model, regions.pos_embed, regions.mean_token, regions.vit
            )
        self.test_encoder = self.image_encoder

    @classmethod
    def load(
        cls,
        name: str = "tiny",
        precision: str = "fp32",
        device: str | torch.device = "cpu",
        regions: RegionOptions | None = None,
        activation: str = AUTO,
    ) -> FrozenClip:
        """Load a backbone by name or from a file; see `load_backbone` for both and for errors."""
        return cls(load_backbone(name, precision, device, activation), precision, regions)

    @property
    def tokenizer(self) -> Tokenizer:
        """Texts to the tokens that `encode_texts` takes."""
        return self.text_encoder.kind.tokenizer

    @property
    def logit_scale(self) -> float:
        """CLIP's own factor from cosines to logits, about 100."""
        return self.clip_model.logit_scale.exp().item()

    @property
    def logit_bias(self) -> float:
        """What the towers' own logits have added to scaled cosines: SigLIP's bias; 0 in CLIP."""
        return float(getattr(self.clip_model, "logit_bias", 0.0))

    @property
    def cosine_offset(self) -> Tensor | None:
        """The cosine at which the towers' own logits are 0, a scalar; None without a bias.

        SigLIP's sigmoid(scale * cosine + bias) is sigmoid(scale * (cosine - this)).
        """
        if self.logit_bias == 0:
            return None
        return torch.tensor(-self.logit_bias / self.logit_scale, device=self.device)

    @property
    def input_size(self) -> int:
        """Height and width of the images that the tower was trained on, in pixels."""
        return self.clip_model.visual.input_resolution

    @property
    def feature_width(self) -> int:
        """D, the width of the space that images and texts share."""
        return self.clip_model.text_projection.shape[1]

    @property
    def token_width(self) -> int:
        """E, the width of the text tower."""
        return self.clip_model.text_projection.shape[0]

    def autocast(self) -> AbstractContextManager:
        """Context in which the towers run."""
        return self.precision.autocast()

    def worthwhile_threads(self) -> AbstractContextManager:
        """Context with as many CPU threads as steps on the text tower are worth."""
        return threads(step_threads(self.clip_model, self.device))

    def encode_images(self, images: Tensor) -> Features:
        """Features of images [B, 3, H, W] on the device."""
        with self.autocast():
            return self.image_encoder(images)

    def encode_test_images(self, images: Tensor) -> Features:
        """Features of images [B, 3, H, W] of an evaluation, on the device; see `views_of`."""
        with self.autocast():
            return self.test_encoder(images)

    def look_at_views(self, bag: Sequence[View] = (), test: Sequence[View] = ()) -> None:
        """Encode several views of each image.

        Args:
            bag: their regions are one bag, in training and in evaluations; none: the image alone.
            test: of an evaluation alone, whose logits are averaged; none: the image alone.

        Raises:
            ValueError: a bag for a CLIP without regions, or a size that the stride does not divide.
        """
        if bag and not self.uses_regions:
            raise ValueError("a bag of regions needs a method that looks at regions")
        if bag:
            self.image_encoder = self.test_encoder = self._views_encoder(bag, True)
        if test:
            self.test_encoder = self._views_encoder(test, False)

    def _views_encoder(self, views: Sequence[View], in_one_bag: bool) -> ViewsEncoder:
        encoder, own = self.image_encoder, self.input_size
        others = {side for view in views for side in (view.height, view.width)} - {own}
        if others and isinstance(self.clip_model.visual, ImageTower):
            raise ValueError(f"this backbone takes pictures of {own} x {own} pixels alone")
        if others and not self.uses_regions:
            encoder = ResizableImageEncoder(self.clip_model)
        for side in others:
            if side % encoder.stride:
                near = max(side // encoder.stride, 1) * encoder.stride
                raise ValueError(
                    f"{side} pixels is no side of a view: this CLIP has a region every "
                    f"{encoder.stride} pixels, which must divide it; take {near} or "
                    f"{near + encoder.stride}"
                )
        return ViewsEncoder(encoder, views, in_one_bag).to(self.device)

    def views_of(self, features: Features) -> list[Features]:
        """The views that an evaluation averages, of what `encode_test_images` gave or its equal."""
        several = features.global_features.dim() == 3  # [B, V, D]
        return self.test_encoder.split(features) if several else [features]

    def first_view(self, features: Features) -> tuple[Features, tuple[int, int] | None]:
        """The first view of `encode_test_images`' features, which is plain.

        Returns:
            Its features, and its height and width in pixels; None: those of the images.
        """
        encoder = self.test_encoder
        if not isinstance(encoder, ViewsEncoder):
            return features, None
        first, view = encoder.split(features)[0], encoder.views[0]
        local = first.local_features
        if local is not None:
            local = local[:, : encoder.regions()[0]]
        return Features(first.global_features, local), (view.height, view.width)

    def encode_texts(self, tokens: Tensor) -> Features:
        """Features of captions in place of images: `tokenizer`'s ids [B, L] on the device."""
        features = self.text_encoder.encode_views(tokens)
        return features if self.uses_regions else Features(features.global_features)

    def encode_prompts(self, prompts: Tensor, eot: Tensor, shared: int = 0) -> Tensor:
        """Features [C, D] of prompt embeddings [C, L, E]; see `TextEncoder.forward`.

        Where prompts are many, each rank encodes its share of them.
        """
        count = len(prompts)
        if world_size() == 1 or count < _PROMPTS_OF_A_RANK * world_size():
            return self.text_encoder(prompts, eot, shared)
        rows = share(count)
        return gather_rows(self.text_encoder(prompts[rows], eot[rows], shared), count)
