"""Transforms that torchvision does not have; random numbers come from torch, as torchvision's do."""

from __future__ import annotations

import math

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

_PHOTOMETRIC = dict.fromkeys(("brightness", "color", "contrast", "sharpness"))
_GEOMETRIC = {
    "posterize": (4.0, 8.0),  # bits
    "rotate": (-30.0, 30.0),  # degrees
    "shear_x": (-0.3, 0.3),  # tangent
    "shear_y": (-0.3, 0.3),
    "solarize": (0.0, 256.0),  # threshold
    "translate_x": (-0.3, 0.3),  # share of the side
    "translate_y": (-0.3, 0.3),
}
_FIXED = dict.fromkeys(("autocontrast", "equalize", "identity"), (0.0, 1.0))

# FixMatch (Sohn et al., 2020), Table 12: operation to range of its strength.
FIXMATCH_OPERATIONS = {**dict.fromkeys(_PHOTOMETRIC, (0.05, 0.95)), **_GEOMETRIC, **_FIXED}
# The stronger set of RandAugment's followers: also brighter than the original, and inverted.
STRONG_OPERATIONS = {
    **dict.fromkeys(_PHOTOMETRIC, (0.1, 1.9)),
    **_GEOMETRIC,
    **_FIXED,
    "invert": (0.0, 1.0),
}


class RandomOperations:
    """`n` operations drawn with repetition, each of random strength and applied with chance `p`.

    Args:
        n: operations per image.
        ranges: operation to (weakest, strongest).
        p: probability of each operation.
    """

    def __init__(self, n: int, ranges: dict[str, tuple[float, float]], p: float = 1.0) -> None:
        self.n = n
        self.ranges = ranges
        self.p = p

    def __call__(self, image: Image.Image) -> Image.Image:
        names = list(self.ranges)
        for index in torch.randint(len(names), (self.n,)).tolist():
            chance, strength = torch.rand(2).tolist()
            if chance < self.p:
                low, high = self.ranges[names[index]]
                image = apply_operation(image, names[index], low + strength * (high - low))
        return image


def apply_operation(image: Image.Image, name: str, strength: float) -> Image.Image:
    """Apply one operation of `FIXMATCH_OPERATIONS` or `STRONG_OPERATIONS` to a PIL image."""
    degrees = math.degrees(math.atan(strength))
    width, height = image.size

    def affine(x: int = 0, y: int = 0, shear: tuple[float, float] = (0.0, 0.0)) -> Image.Image:
        return F.affine(image, 0.0, [x, y], 1.0, [*shear], center=[0, 0])

    operations = {
        "identity": lambda: image,
        "autocontrast": lambda: F.autocontrast(image),
        "equalize": lambda: F.equalize(image),
        "invert": lambda: F.invert(image),
        "brightness": lambda: F.adjust_brightness(image, strength),
        "color": lambda: F.adjust_saturation(image, strength),
        "contrast": lambda: F.adjust_contrast(image, strength),
        "sharpness": lambda: F.adjust_sharpness(image, strength),
        "posterize": lambda: F.posterize(image, int(strength)),
        "solarize": lambda: F.solarize(image, min(strength, 255.0)),
        "rotate": lambda: F.rotate(image, strength),
        "shear_x": lambda: affine(shear=(degrees, 0.0)),
        "shear_y": lambda: affine(shear=(0.0, degrees)),
        "translate_x": lambda: affine(x=round(strength * width)),
        "translate_y": lambda: affine(y=round(strength * height)),
    }
    return operations[name]()


class Random2DTranslation:
    """With chance `p` resize to 9/8 of the size and crop at random, otherwise just resize.

    Args:
        height: height in pixels.
        width: width in pixels.
        p: probability of the crop.
        interpolation: of the resizing.
    """

    def __init__(
        self,
        height: int,
        width: int,
        p: float = 0.5,
        interpolation: InterpolationMode = InterpolationMode.BILINEAR,
    ) -> None:
        self.height = height
        self.width = width
        self.p = p
        self.interpolation = interpolation

    def __call__(self, image: Image.Image) -> Image.Image:
        if torch.rand(()).item() >= self.p:
            return F.resize(image, [self.height, self.width], self.interpolation)
        height, width = round(self.height * 1.125), round(self.width * 1.125)
        top = int(torch.randint(height - self.height + 1, ()))
        left = int(torch.randint(width - self.width + 1, ()))
        larger = F.resize(image, [height, width], self.interpolation)
        return F.crop(larger, top, left, self.height, self.width)


class Cutout:
    """Squares of zeros at random places, cut off at the border (DeVries and Taylor, 2017).

    Args:
        n_holes: squares per image.
        length: side in pixels.
    """

    def __init__(self, n_holes: int = 1, length: int = 16) -> None:
        self.n_holes = n_holes
        self.length = length

    def __call__(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        image = image.clone()
        half = self.length // 2
        for _ in range(self.n_holes):
            y, x = int(torch.randint(height, ())), int(torch.randint(width, ()))
            image[..., max(y - half, 0) : y + half, max(x - half, 0) : x + half] = 0.0
        return image


class GaussianNoise:
    """Adds noise to each value with chance `p`.

    Args:
        mean: of the noise.
        std: of the noise.
        p: probability per image.
    """

    def __init__(self, mean: float = 0.0, std: float = 0.15, p: float = 0.5) -> None:
        self.mean = mean
        self.std = std
        self.p = p

    def __call__(self, image: Tensor) -> Tensor:
        if torch.rand(()).item() >= self.p:
            return image
        return image + torch.randn_like(image) * self.std + self.mean


class InstanceNormalization:
    """Zero mean and unit deviation in each channel of each image.

    Args:
        eps: added to the deviation.
    """

    def __init__(self, eps: float = 1e-8) -> None:
        self.eps = eps

    def __call__(self, image: Tensor) -> Tensor:
        std, mean = torch.std_mean(image, dim=(-2, -1), keepdim=True)  # [3, 1, 1]
        return (image - mean) / (std + self.eps)
