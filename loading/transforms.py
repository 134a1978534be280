"""Image transforms: deterministic preprocessing, and augmentations for training.

The augmentations are called by Dassl's names and follow each other in Dassl's order, whatever the
order in the config: geometry, flip, RandAugment, colours, then on tensors cutout, normalisation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode, v2
from yacs.config import CfgNode

from common.choices import check_choice, hint
from modeling.encoders.image_views import largest_size, parse_views

RESIZES = {
    "squash": "the whole picture, sides scaled separately to the input size",
    "crop": "shorter side scaled to the input size, then the central square, as CLIP does",
}
CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]  # of the colours that CLIP was trained on
CLIP_STD = [0.26862954, 0.26130258, 0.27577711]
INTERPOLATIONS = {mode.value: mode for mode in InterpolationMode}
# Under these alone an image has at most two views, plain and mirrored, which can be cached.
COUNTABLE = frozenset({"random_flip", "normalize"})
AUGMENTATIONS = (
    "random_resized_crop",
    "random_flip",
    "randaugment",
    "colorjitter",
    "cutout",
    "normalize",
)


class Cutout(nn.Module):
    """Black squares at random places, cut off at the border (DeVries and Taylor, 2017).

    Args:
        holes: squares per image; they may overlap.
        side: their side in pixels.
    """

    def __init__(self, holes: int, side: int) -> None:
        super().__init__()
        self.holes, self.side = holes, side

    def forward(self, image: Tensor) -> Tensor:
        """Return a copy of the image [3, H, W] with the squares in it."""
        image = image.clone()
        for _ in range(self.holes):
            rows, columns = (self._span(length) for length in image.shape[-2:])
            image[..., rows, columns] = 0
        return image

    def _span(self, length: int) -> slice:
        start = int(torch.randint(length, ())) - self.side // 2
        return slice(max(start, 0), max(start + self.side, 0))


def fixed_transform(
    size: tuple[int, int],
    resize: str,
    interpolation: str,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> Callable[[Any], Tensor]:
    """Preprocessing without any random part.

    Args:
        size: height and width in pixels.
        resize: one of `RESIZES`.
        interpolation: "bicubic", "bilinear" or "nearest".
        mean: of each colour channel, or None to leave colours in [0, 1].
        std: likewise.

    Returns:
        PIL image to tensor [3, H, W].

    Raises:
        ValueError: an unknown resize or interpolation.
    """
    steps = [*_resize(size, resize, interpolation), *_to_tensor()]
    if mean is not None:
        steps.append(v2.Normalize(mean, std))
    return v2.Compose(steps)


def evaluation_transform(cfg: CfgNode) -> Callable[[Any], Tensor]:
    """`fixed_transform` as a config's INPUT keys say, which every evaluation uses.

    Pictures come in the size of the largest view (INPUT.TEST_VIEWS, INPUT.REGION_VIEWS).

    Returns:
        PIL image to tensor [3, H, W].
    """
    options = cfg.INPUT
    normalises = "normalize" in options.TRANSFORMS
    colours = (options.PIXEL_MEAN, options.PIXEL_STD) if normalises else (None, None)
    size = picture_size(options)
    return fixed_transform(size, options.RESIZE, options.INTERPOLATION, *colours)


def picture_size(inputs: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width in which an evaluation reads pictures, for all of its views.

    Args:
        inputs: the config's INPUT keys.
    """
    size = inputs["SIZE"]
    words = inputs.get("TEST_VIEWS") or inputs.get("REGION_VIEWS") or ""  # other configs have none
    return largest_size(parse_views(words, size), size)


def clip_transform(side: int) -> Callable[[Any], Tensor]:
    """CLIP's colours and interpolation, the whole picture squashed to a square.

    Args:
        side: height and width in pixels, `FrozenClip.input_size`.

    Returns:
        PIL image to tensor [3, side, side].
    """
    return fixed_transform((side, side), "squash", "bicubic", CLIP_MEAN, CLIP_STD)


def split_at_pixels(
    transform: Callable[[Any], Tensor],
) -> tuple[Callable[[Any], Tensor], Callable[[Tensor], Tensor]]:
    """A transform in two parts: from PIL image to pixels, and from pixels to what a tower takes.

    Args:
        transform: what `fixed_transform` made. Of any other, all is the first part.

    Returns:
        PIL image to uint8 [3, H, W]; uint8 [B, 3, H, W] on any device to fp32.
    """
    steps = list(getattr(transform, "transforms", ()))
    for i, step in enumerate(steps):
        if isinstance(step, v2.PILToTensor):
            return v2.Compose(steps[: i + 1]), v2.Compose(steps[i + 1 :])
    return transform, nn.Identity()


def augmenting_transform(inputs: Mapping[str, Any]) -> Callable[[Any], Tensor] | None:
    """Preprocessing with the augmentations that `inputs["TRANSFORMS"]` names.

    All chance comes from torch's global generator.

    Args:
        inputs: the config's INPUT keys, all of Dassl's and RESIZE.

    Returns:
        PIL image to tensor [3, H, W]; None if a name is not one of `AUGMENTATIONS`.

    Raises:
        ValueError: an unknown resize or interpolation.
    """
    names, size = set(inputs["TRANSFORMS"]), tuple(inputs["SIZE"])
    if not names.issubset(AUGMENTATIONS):
        return None
    mode = _interpolation_mode(inputs["INTERPOLATION"])
    if "random_resized_crop" in names:
        scale = tuple(inputs["RRCROP_SCALE"])
        steps = [v2.RandomResizedCrop(size, scale=scale, interpolation=mode, antialias=True)]
    else:
        steps = _resize(size, inputs["RESIZE"], inputs["INTERPOLATION"])
    if "random_flip" in names:
        steps.append(v2.RandomHorizontalFlip())
    if "randaugment" in names:
        steps.append(v2.RandAugment(inputs["RANDAUGMENT_N"], inputs["RANDAUGMENT_M"]))
    if "colorjitter" in names:
        steps.append(v2.ColorJitter(*(inputs[f"COLORJITTER_{c}"] for c in "BCSH")))
    steps += _to_tensor()
    if "cutout" in names:
        steps.append(Cutout(inputs["CUTOUT_N"], inputs["CUTOUT_LEN"]))
    if "normalize" in names:
        steps.append(v2.Normalize(inputs["PIXEL_MEAN"], inputs["PIXEL_STD"]))
    return v2.Compose(steps)


def check_transforms(inputs: Mapping[str, Any], others: Iterable[str]) -> None:
    """Refuse names that nobody knows, and a resize that would be ignored.

    Args:
        inputs: the config's INPUT keys.
        others: names of transforms that are made elsewhere, on squashed pictures.

    Raises:
        ValueError: the nearest valid name comes with the message.
    """
    known = sorted({*AUGMENTATIONS, *others})
    for name in inputs["TRANSFORMS"]:
        if name not in known:
            raise ValueError(
                f"INPUT.TRANSFORMS takes some of {', '.join(known)}; got {name!r}."
                f"{hint(name, known)}"
            )
        if inputs["RESIZE"] == "crop" and name not in AUGMENTATIONS:
            raise ValueError(
                f"INPUT.RESIZE crop does not go with Dassl's own {name!r}, which trains on "
                f"squashed pictures. It goes with {', '.join(AUGMENTATIONS)}."
            )


def _interpolation_mode(name: str) -> InterpolationMode:
    check_choice("INPUT.INTERPOLATION", name, INTERPOLATIONS)
    return INTERPOLATIONS[name]


def _resize(size: tuple[int, int], resize: str, interpolation: str) -> list[v2.Transform]:
    check_choice("INPUT.RESIZE", resize, RESIZES)
    mode = _interpolation_mode(interpolation)
    if resize == "squash":
        return [v2.Resize(tuple(size), interpolation=mode, antialias=True)]
    shorter_side = v2.Resize(max(size), interpolation=mode, antialias=True)
    return [shorter_side, v2.CenterCrop(tuple(size))]


def _to_tensor() -> list[v2.Transform]:
    return [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
