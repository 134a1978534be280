from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from dassl.config import get_cfg_default
from dassl.data.transforms import INTERPOLATION_MODES, build_transform
from PIL import Image
from torchvision.transforms import InterpolationMode

from . import fixed_in_builtin

ALL = [
    "random_flip",
    "random_resized_crop",
    "normalize",
    "instance_norm",
    "random_crop",
    "random_translation",
    "center_crop",
    "cutout",
    "imagenet_policy",
    "cifar10_policy",
    "svhn_policy",
    "randaugment",
    "randaugment_fixmatch",
    "randaugment2",
    "gaussian_noise",
    "colorjitter",
    "randomgrayscale",
    "gaussian_blur",
]
USE_REMOVED_NUMPY_NAMES = ("imagenet_policy", "cifar10_policy", "svhn_policy", "randaugment")


def image(height=24, width=32):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3))
    return Image.fromarray(pixels.astype(np.uint8))


def build(choices, is_train=True, **options):
    cfg = get_cfg_default()
    cfg.INPUT.update({"SIZE": (16, 16), "TRANSFORMS": tuple(choices), **options})
    return build_transform(cfg, is_train=is_train)


def steps(transform):
    return [type(step).__name__ for step in transform.transforms]


def test_interpolations():
    assert INTERPOLATION_MODES == {
        "bilinear": InterpolationMode.BILINEAR,
        "bicubic": InterpolationMode.BICUBIC,
        "nearest": InterpolationMode.NEAREST,
    }
    crop = build(["random_resized_crop"], INTERPOLATION="bicubic").transforms[0]
    assert crop.interpolation is InterpolationMode.BICUBIC
    with pytest.raises(KeyError):
        build([], INTERPOLATION="lanczos")


@pytest.mark.parametrize("order", [1, -1])
def test_training_order_is_fixed(order):
    choices = [
        *["instance_norm", "gaussian_noise", "normalize", "cutout", "gaussian_blur"],
        *["randomgrayscale", "colorjitter", "random_flip", "random_resized_crop"],
        *["random_crop", "random_translation", "center_crop"],
    ]
    assert steps(build(choices[::order])) == [
        "Random2DTranslation",
        "RandomCrop",
        "RandomResizedCrop",
        "RandomHorizontalFlip",
        "ColorJitter",
        "RandomGrayscale",
        "RandomApply",
        "ToTensor",
        "Cutout",
        "Normalize",
        "GaussianNoise",
        "InstanceNormalization",
    ]


def test_random_augmentations_come_between_flip_and_jitter():
    augmentations = ["randaugment2", "randaugment", "randaugment_fixmatch"]
    found = steps(build(["colorjitter", *augmentations, "random_flip"]))
    assert found[:2] == ["Resize", "RandomHorizontalFlip"]
    assert found[5:] == ["ColorJitter", "ToTensor"]


@fixed_in_builtin("uses np.int, which numpy has removed")
def test_policies_come_between_flip_and_jitter():
    policies = ["svhn_policy", "cifar10_policy", "imagenet_policy"]
    found = steps(build(["colorjitter", *policies, "random_flip"]))
    assert found[:2] == ["Resize", "RandomHorizontalFlip"]
    assert found[5:] == ["ColorJitter", "ToTensor"]


def test_without_a_crop_the_image_is_resized_to_the_exact_size():
    transform = build(["random_flip"])
    assert steps(transform) == ["Resize", "RandomHorizontalFlip", "ToTensor"]
    assert transform(image()).shape == (3, 16, 16)


def test_testing_crops_the_centre_and_normalises_if_asked():
    transform = build(["random_flip", "cutout", "normalize"], is_train=False, SIZE=(16, 12))
    assert steps(transform) == ["Resize", "CenterCrop", "ToTensor", "Normalize"]
    assert transform.transforms[0].size == 16  # of the shorter side
    assert transform(image()).shape == (3, 16, 12)
    assert steps(build([], is_train=False)) == ["Resize", "CenterCrop", "ToTensor"]


def test_no_transform():
    assert build(["normalize"], NO_TRANSFORM=True) is None


def test_settings_of_the_config_are_used():
    transform = build(
        ["random_resized_crop", "random_crop", "randomgrayscale", "gaussian_blur", "cutout"],
        RRCROP_SCALE=(0.5, 0.7),
        CROP_PADDING=3,
        RGS_P=0.9,
        GB_P=0.25,
        GB_K=5,
        CUTOUT_N=2,
        CUTOUT_LEN=6,
    )
    crop, resized, gray, blur, _, cutout = transform.transforms
    assert (crop.padding, tuple(resized.scale), gray.p, blur.p) == (3, (0.5, 0.7), 0.9, 0.25)
    assert tuple(blur.transforms[0].kernel_size) == (5, 5)
    assert (cutout.n_holes, cutout.length) == (2, 6)


@pytest.mark.parametrize("name", ALL)
def test_every_choice_makes_an_image_tensor(request, name):
    if name in USE_REMOVED_NUMPY_NAMES:
        request.applymarker(fixed_in_builtin("uses np.int, which numpy has removed"))
    random.seed(0)
    torch.manual_seed(0)
    transform = build([name])
    for _ in range(40):  # often enough to meet every operation of the policies
        tensor = transform(image())
        assert tensor.shape == (3, 16, 16)
        assert tensor.isfinite().all()


def test_unknown_choices_are_refused():
    with pytest.raises((AssertionError, ValueError)):
        build(["random_flop"])


@fixed_in_builtin("a bare AssertionError")
def test_the_error_gives_the_nearest_choice():
    with pytest.raises(ValueError, match=r"do you mean \[random_flip\]"):
        build(["random_flop"])


def test_cutout_removes_squares():
    torch.manual_seed(0)
    np.random.seed(0)
    cutout = build(["cutout"], CUTOUT_LEN=4).transforms[-1]
    removed = [int((cutout(torch.ones(3, 16, 16))[0] == 0).sum()) for _ in range(50)]
    assert max(removed) == 16 and min(removed) >= 4  # less at the border


def test_instance_norm():
    normalised = build(["instance_norm"])(image())
    assert normalised.mean(dim=(1, 2)).abs().max() < 1e-5
    assert normalised.std(dim=(1, 2)).tolist() == pytest.approx([1.0] * 3, abs=1e-4)
