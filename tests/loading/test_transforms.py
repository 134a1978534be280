from __future__ import annotations

import importlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from dassl.data.transforms.transforms import AVAI_CHOICES
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as F

from loading.images import read_picture
from loading.transforms import (
    AUGMENTATIONS,
    COUNTABLE,
    Cutout,
    augmenting_transform,
    check_transforms,
    fixed_transform,
    split_at_pixels,
)
from modeling.clip.loader import import_clip
from tests.helpers.transform_inputs import inputs

DATA = Path(os.environ.get("LMPT_REAL_DATA", "data"))
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
GREY_LEVEL = 1 / 255 / min(STD)  # of a normalised picture


def picture(width: int = 50, height: int = 31, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def samples(transform, image: Image.Image, count: int) -> list[Tensor]:
    torch.manual_seed(0)
    return [transform(image) for _ in range(count)]


class TestAgainstClip:
    """Geometry "crop" is what CLIP itself does before its towers."""

    @staticmethod
    def difference(image: Image.Image, side: int) -> float:
        import_clip()
        theirs = importlib.import_module("clip.clip")._transform(side)
        ours = fixed_transform((side, side), "crop", "bicubic", MEAN, STD)
        return float((ours(image) - theirs(image)).abs().max())

    @pytest.mark.parametrize("size", [(500, 375), (333, 500), (225, 224), (97, 401), (40, 33)])
    @pytest.mark.parametrize("side", [224, 33])
    def test_equals_clips_own_on_odd_sizes(self, size, side):
        assert self.difference(picture(*size), side) <= GREY_LEVEL

    def test_equals_clips_own_on_real_pictures(self):
        paths = sorted(DATA.rglob("*.jpg"))
        if not paths:
            pytest.skip(f"no pictures in {DATA}; set LMPT_REAL_DATA to a folder that has some")
        for path in paths:
            with Image.open(path) as image:
                as_clip_reads = image.convert("RGB")
            import_clip()
            theirs = importlib.import_module("clip.clip")._transform(224)(as_clip_reads)
            ours = fixed_transform((224, 224), "crop", "bicubic", MEAN, STD)(read_picture(path))
            assert (ours - theirs).abs().max() <= GREY_LEVEL, path


class TestAugmentations:
    def test_dassls_order_whatever_the_order_of_names(self):
        forward = augmenting_transform(inputs(*AUGMENTATIONS))
        backward = augmenting_transform(inputs(*reversed(AUGMENTATIONS)))
        assert str(forward) == str(backward)
        kinds = [type(step).__name__ for step in forward.transforms]
        assert kinds == [
            "RandomResizedCrop",
            "RandomHorizontalFlip",
            "RandAugment",
            "ColorJitter",
            "PILToTensor",
            "ToDtype",
            "Cutout",
            "Normalize",
        ]

    @pytest.mark.parametrize("name", AUGMENTATIONS)
    @pytest.mark.parametrize("resize", ["squash", "crop"])
    def test_every_name_gives_tensors_of_the_input_size(self, name, resize):
        transform = augmenting_transform(inputs(name, RESIZE=resize, SIZE=(24, 20)))
        shown = samples(transform, picture(), 8)
        assert all(image.shape == (3, 24, 20) for image in shown)
        assert all(image.dtype == torch.float32 for image in shown)
        varied = any(not torch.equal(shown[0], image) for image in shown[1:])
        assert varied is (name != "normalize")

    @pytest.mark.parametrize("resize", ["squash", "crop"])
    @pytest.mark.parametrize("names", [(), ("normalize",)])
    def test_without_chance_it_is_the_fixed_transform(self, names, resize):
        node = inputs(*names, RESIZE=resize)
        colours = (node.PIXEL_MEAN, node.PIXEL_STD) if names else (None, None)
        fixed = fixed_transform(node.SIZE, resize, node.INTERPOLATION, *colours)
        assert torch.equal(augmenting_transform(node)(picture()), fixed(picture()))

    def test_flip_shows_the_picture_or_its_mirror_image(self):
        node = inputs("random_flip")
        plain = augmenting_transform(inputs())(picture())
        shown = samples(augmenting_transform(node), picture(), 40)
        mirrored = [torch.allclose(image, plain.flip(-1), atol=2 / 255) for image in shown]
        assert 10 < sum(mirrored) < 30
        assert all(m or torch.equal(image, plain) for m, image in zip(mirrored, shown, strict=True))

    def test_crop_takes_the_configured_share_of_the_area(self):
        ramp = np.linspace(0, 255, 64, dtype=np.uint8)
        columns = Image.fromarray(np.tile(ramp[None, :, None], (64, 1, 3)))  # brighter to the right
        for scale, (low, high) in {(0.25, 0.25): (0.3, 0.7), (1.0, 1.0): (0.95, 1.05)}.items():
            crop = augmenting_transform(inputs("random_resized_crop", RRCROP_SCALE=scale))
            spans = [float(i[0, 0, -1] - i[0, 0, 0]) for i in samples(crop, columns, 30)]
            assert low < np.mean(spans) < high, scale

    def test_randaugment_and_jitter_follow_their_strength(self):
        def change(name, **changes):
            plain = augmenting_transform(inputs())(picture())
            shown = samples(augmenting_transform(inputs(name, **changes)), picture(), 30)
            return float(np.mean([(image - plain).abs().mean() for image in shown]))

        assert change("randaugment", RANDAUGMENT_N=0) == 0
        assert change("randaugment", RANDAUGMENT_N=1) < change("randaugment", RANDAUGMENT_N=4)
        assert change("randaugment", RANDAUGMENT_M=1) < change("randaugment", RANDAUGMENT_M=25)
        still = {f"COLORJITTER_{c}": 0.0 for c in "BCSH"}
        assert change("colorjitter", **still) == 0
        for c in "BCSH":
            assert change("colorjitter", **{**still, f"COLORJITTER_{c}": 0.3}) > 0
        grey = picture().convert("L").convert("RGB")  # has brightness and contrast alone
        for c, changes in {"B": True, "C": True, "S": False, "H": False}.items():
            jitter = augmenting_transform(
                inputs("colorjitter", **{**still, f"COLORJITTER_{c}": 0.5})
            )
            first, *others = samples(jitter, grey, 4)
            assert any((first - other).abs().max() > 0.02 for other in others) is changes, c
        with pytest.raises(ValueError, match="hue"):  # a turn of at most half a circle
            augmenting_transform(inputs("colorjitter", COLORJITTER_H=0.9))

    def test_what_is_not_ours_is_left_to_dassl(self):
        assert augmenting_transform(inputs("gaussian_blur", "random_flip")) is None
        assert set(AUGMENTATIONS) < set(AVAI_CHOICES)
        assert set(AUGMENTATIONS) > COUNTABLE


class TestCutout:
    def test_against_pixel_by_pixel(self):
        image = torch.rand(3, 13, 17) + 1
        for seed in range(30):
            torch.manual_seed(seed)
            shown = Cutout(2, 5)(image)
            torch.manual_seed(seed)
            expected = image.clone()
            for _ in range(2):
                y, x = int(torch.randint(13, ())), int(torch.randint(17, ()))
                for row in range(y - 2, y + 3):
                    for column in range(x - 2, x + 3):
                        if 0 <= row < 13 and 0 <= column < 17:
                            expected[:, row, column] = 0
            assert torch.equal(shown, expected)

    def test_holes_are_black_before_normalisation(self):
        node = inputs("cutout", "normalize", CUTOUT_LEN=200)
        shown = augmenting_transform(node)(picture())
        black = F.normalize(torch.zeros(3, 24, 24), node.PIXEL_MEAN, node.PIXEL_STD)
        assert torch.allclose(shown, black)

    def test_number_and_side(self):
        torch.manual_seed(0)
        assert torch.equal(Cutout(0, 5)(torch.ones(3, 9, 9)), torch.ones(3, 9, 9))
        holes = [int((Cutout(1, 4)(torch.ones(1, 99, 99)) == 0).sum()) for _ in range(30)]
        assert max(holes) == 16


class TestChecks:
    def test_names_of_dassl_are_fine(self):
        check_transforms(inputs(*AVAI_CHOICES), AVAI_CHOICES)

    def test_a_typo_gets_the_nearest_name(self):
        with pytest.raises(ValueError, match=r"got 'random_flips'. Did you mean 'random_flip'\?"):
            check_transforms(inputs("normalize", "random_flips"), AVAI_CHOICES)

    def test_a_resize_that_would_be_ignored(self):
        check_transforms(inputs("random_flip", RESIZE="crop"), AVAI_CHOICES)
        with pytest.raises(ValueError, match="crop does not go with Dassl's own 'gaussian_blur'"):
            check_transforms(inputs("gaussian_blur", RESIZE="crop"), AVAI_CHOICES)


@pytest.mark.parametrize("resize", ["squash", "crop"])
@pytest.mark.parametrize("colours", [(MEAN, STD), (None, None)])
def test_the_two_parts_of_a_fixed_transform_make_the_whole(resize, colours):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8))
    whole = fixed_transform((24, 24), resize, "bicubic", *colours)
    to_pixels, finish = split_at_pixels(whole)
    pixels = to_pixels(picture)
    assert pixels.dtype is torch.uint8 and pixels.shape == (3, 24, 24)
    mirrored = torch.stack([pixels, pixels.flip(-1)])
    expected = torch.stack([whole(picture), whole(picture).flip(-1)])
    assert torch.equal(finish(mirrored), expected)


def test_other_transforms_are_not_split():
    to_pixels, finish = split_at_pixels(F.to_tensor)
    images = torch.rand(2, 3, 4, 4)
    assert to_pixels is F.to_tensor and torch.equal(finish(images), images)
