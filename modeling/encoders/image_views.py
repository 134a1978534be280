"""Views of an image: mirrored or not, at several sizes, encoded together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeling.encoders.dense_image_encoder import DenseImageEncoder
from modeling.encoders.features import Features

FLIP = "flip"


@dataclass(frozen=True)
class View:
    """How an image is shown to a tower: its height and width in pixels, and whether mirrored."""

    height: int
    width: int
    mirrored: bool = False


def parse_views(words: str, size: Sequence[int]) -> tuple[View, ...]:
    """The views that a text such as "flip 96 128" asks for: each size plain, then mirrored.

    Args:
        words: "flip" and sides of squares in pixels, at most once each, in any order. Without a
            side they are of `size`. An empty text asks for none.
        size: height and width of INPUT.SIZE.

    Raises:
        ValueError: another word, or one that comes twice.
    """
    parts = words.split()
    sides = [part for part in parts if part != FLIP]
    if len({*parts}) < len(parts) or not all(p.isdecimal() and int(p) > 0 for p in sides):
        raise ValueError(f"expected {FLIP!r} and sides in pixels, each once, got {words!r}")
    sizes = [(int(side), int(side)) for side in sides] or [tuple(size)] * bool(parts)
    mirrors = (False, True) if FLIP in parts else (False,)
    return tuple(View(*shape, mirrored) for shape in sizes for mirrored in mirrors)


def largest_size(views: Sequence[View], size: Sequence[int]) -> tuple[int, int]:
    """Height and width in which a picture is read for some views; `size` where there are none."""
    shapes = [(view.height, view.width) for view in views]
    return max(shapes, key=lambda shape: shape[0] * shape[1]) if shapes else tuple(size)


class ResizableImageEncoder(DenseImageEncoder):
    """Images of any size that the stride divides to global features alone.

    `ImageEncoder` takes CLIP's own size only.

    Args:
        clip_model: a frozen `clip.model.CLIP` of either tower.
    """

    def __init__(self, clip_model: nn.Module) -> None:
        super().__init__(clip_model)

    def forward(self, images: Tensor) -> Features:
        """Encode images [B, 3, H, W] into `Features` with global features [B, D]."""
        return Features(super().forward(images).global_features)


class ViewsEncoder(nn.Module):
    """An image encoder that looks at an image several times.

    Smaller views are the image itself made smaller (bicubic, with anti-aliasing).

    Args:
        encoder: images of each view's size to `Features`.
        views: at least one.
        in_one_bag: whether the views' regions make one bag [B, R1 + R2 + ..., D] with one global
            feature, the unit mean of the views' [B, D]. Otherwise global features are [B, V, D]
            and `split` tells the views apart.

    Attributes:
        size: height and width of the images that it takes.
    """

    def __init__(self, encoder: nn.Module, views: Sequence[View], in_one_bag: bool) -> None:
        super().__init__()
        self.encoder, self.views, self.in_one_bag = encoder, tuple(views), in_one_bag
        self.stride = getattr(encoder, "stride", None)  # of one without regions None
        self.size = largest_size(views, ())
        for side in {part for view in views for part in (view.height, view.width)}:
            for full in {*self.size}:
                self.register_buffer(_name(side, full), _resizing(side, full), persistent=False)

    def forward(self, images: Tensor) -> Features:
        """Encode images [B, 3, H, W] of the largest view's size."""
        found = [self.encoder(self._seen(images, view)) for view in self.views]
        whole = torch.stack([features.global_features for features in found], dim=1)  # [B, V, D]
        local = None
        if found[0].local_features is not None:
            local = torch.cat([features.local_features for features in found], dim=1)
        return Features(F.normalize(whole.mean(dim=1), dim=-1) if self.in_one_bag else whole, local)

    def split(self, features: Features) -> list[Features]:
        """The views' features, of what `forward` gave for B images; one bag stays one."""
        if self.in_one_bag:
            return [features]
        whole, local = features.global_features.unbind(dim=1), [None] * len(self.views)
        if features.local_features is not None:
            local = features.local_features.split(self.regions(), dim=1)
        return [Features(*parts) for parts in zip(whole, local, strict=True)]

    def regions(self) -> list[int]:
        """Regions of each view, in their order along R."""
        step, more = self.stride, int(getattr(self.encoder, "mean_token", False))
        return [(v.height // step) * (v.width // step) + more for v in self.views]

    def _seen(self, images: Tensor, view: View) -> Tensor:
        """A view [B, 3, h, w] of images [B, 3, H, W]."""
        height, width = self.size
        if (view.height, view.width) != (height, width):
            rows = self.get_buffer(_name(view.height, height))
            columns = self.get_buffer(_name(view.width, width))
            with torch.autocast(images.device.type, enabled=False):
                images = rows @ images.float() @ columns.t()
        return images.flip(-1) if view.mirrored else images


def _name(side: int, full: int) -> str:
    return f"from_{full}_to_{side}"


def _resizing(side: int, full: int) -> Tensor:
    """What makes `full` pixels in a row `side` ones: [side, full].

    As a matrix, so that it can be recorded as an ONNX graph, whose operators have no anti-aliasing.
    """
    shape = (side, full)
    pixels = torch.eye(full)[None, None]
    return F.interpolate(pixels, shape, mode="bicubic", antialias=True)[0, 0]
