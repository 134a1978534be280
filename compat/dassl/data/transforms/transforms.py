"""Build the train and test transforms of a config."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch.nn import Module
from torchvision.transforms import (
    AutoAugment,
    AutoAugmentPolicy,
    CenterCrop,
    ColorJitter,
    Compose,
    GaussianBlur,
    InterpolationMode,
    Normalize,
    RandAugment,
    RandomApply,
    RandomCrop,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Resize,
    ToTensor,
)
from yacs.config import CfgNode

from dassl.utils import check_availability

from .operations import (
    FIXMATCH_OPERATIONS,
    STRONG_OPERATIONS,
    Cutout,
    GaussianNoise,
    InstanceNormalization,
    Random2DTranslation,
    RandomOperations,
)

INTERPOLATION_MODES = {
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
    "nearest": InterpolationMode.NEAREST,
}

# In the order of application, which the order in the config does not change. The first group
# works on PIL images, the second on tensors of [0, 1].
_ON_IMAGES: dict[str, Callable[[CfgNode], Callable]] = {
    "random_translation": lambda c: Random2DTranslation(*c.SIZE),
    "random_crop": lambda c: RandomCrop(c.SIZE, padding=c.CROP_PADDING),
    "random_resized_crop": lambda c: RandomResizedCrop(
        c.SIZE, scale=c.RRCROP_SCALE, interpolation=_interpolation(c)
    ),
    "random_flip": lambda c: RandomHorizontalFlip(),
    "imagenet_policy": lambda c: AutoAugment(AutoAugmentPolicy.IMAGENET),
    "cifar10_policy": lambda c: AutoAugment(AutoAugmentPolicy.CIFAR10),
    "svhn_policy": lambda c: AutoAugment(AutoAugmentPolicy.SVHN),
    "randaugment": lambda c: RandAugment(c.RANDAUGMENT_N, c.RANDAUGMENT_M),
    "randaugment_fixmatch": lambda c: RandomOperations(c.RANDAUGMENT_N, FIXMATCH_OPERATIONS),
    "randaugment2": lambda c: RandomOperations(c.RANDAUGMENT_N, STRONG_OPERATIONS, p=0.6),
    "colorjitter": lambda c: ColorJitter(
        c.COLORJITTER_B, c.COLORJITTER_C, c.COLORJITTER_S, c.COLORJITTER_H
    ),
    "randomgrayscale": lambda c: RandomGrayscale(c.RGS_P),
    "gaussian_blur": lambda c: RandomApply([GaussianBlur(c.GB_K)], p=c.GB_P),
}
_ON_TENSORS: dict[str, Callable[[CfgNode], Callable]] = {
    "cutout": lambda c: Cutout(c.CUTOUT_N, c.CUTOUT_LEN),
    "normalize": lambda c: Normalize(c.PIXEL_MEAN, c.PIXEL_STD),
    "gaussian_noise": lambda c: GaussianNoise(c.GN_MEAN, c.GN_STD),
    "instance_norm": lambda c: InstanceNormalization(),
}
AVAI_CHOICES = [*_ON_IMAGES, "center_crop", *_ON_TENSORS]  # center_crop: always done in testing


def build_transform(
    cfg: CfgNode, is_train: bool = True, choices: Sequence[str] | None = None
) -> Compose | None:
    """Image to tensor, for training or for testing.

    Args:
        cfg: config; `INPUT` is read.
        is_train: augment. Otherwise: resize the shorter side, crop the centre, normalise.
        choices: names used instead of `INPUT.TRANSFORMS`.

    Returns:
        PIL image to float tensor [3, H, W]; None with `INPUT.NO_TRANSFORM`.

    Raises:
        ValueError: unknown name.
        KeyError: unknown `INPUT.INTERPOLATION`.
    """
    if cfg.INPUT.NO_TRANSFORM:
        print("Note: no transform is applied!")
        return None
    choices = cfg.INPUT.TRANSFORMS if choices is None else choices
    for choice in choices:
        check_availability(choice, AVAI_CHOICES)

    inputs = cfg.INPUT
    if is_train:
        steps = [make(inputs) for name, make in _ON_IMAGES.items() if name in choices]
        if not {"random_crop", "random_resized_crop"} & set(choices):
            steps.insert(0, Resize(inputs.SIZE, interpolation=_interpolation(inputs)))
        on_tensors = _ON_TENSORS
    else:
        shorter_side = Resize(max(inputs.SIZE), interpolation=_interpolation(inputs))
        steps = [shorter_side, CenterCrop(inputs.SIZE)]
        on_tensors = {name: _ON_TENSORS[name] for name in ("normalize", "instance_norm")}
    steps.append(ToTensor())
    steps += [make(inputs) for name, make in on_tensors.items() if name in choices]

    print(f"Building transform_{'train' if is_train else 'test'}")
    for step in steps:
        settings = repr(step) if isinstance(step, Module) else type(step).__name__
        print("+", " ".join(settings.split()))
    return Compose(steps)


def _interpolation(inputs: CfgNode) -> InterpolationMode:
    if inputs.INTERPOLATION not in INTERPOLATION_MODES:
        raise KeyError(
            f"INPUT.INTERPOLATION must be one of {[*INTERPOLATION_MODES]}, "
            f"got {inputs.INTERPOLATION}"
        )
    return INTERPOLATION_MODES[inputs.INTERPOLATION]
