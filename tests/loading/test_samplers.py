from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import Compose, RandomResizedCrop, ToTensor

from loading.samplers import (
    FLIPPED,
    AllViewsSampler,
    EpochBatchSampler,
    ImageDataset,
    Sample,
    SequentialBatchSampler,
)
from loading.transforms import fixed_transform
from tests.helpers.sets.small_pictures import SIZE, Picture, read, write_pictures


@pytest.fixture
def pictures(tmp_path):
    return write_pictures(tmp_path)


class TestEpochPlan:
    def test_every_image_once_and_the_last_batch_kept(self):
        sampler = EpochBatchSampler(SIZE, 4, seed=1)
        batches = list(sampler)
        assert [len(batch) for batch in batches] == [4, 4, 3] and len(sampler) == 3
        assert sorted(sample.index for batch in batches for sample in batch) == list(range(SIZE))

    def test_depends_on_seed_and_epoch_alone(self):
        def samples(seed, epoch):
            sampler = EpochBatchSampler(50, 8, seed, flip=0.5)
            sampler.epoch = epoch
            return [sample for batch in sampler for sample in batch]

        first = samples(1, 2)
        torch.rand(3), np.random.rand(3)
        assert first == samples(1, 2)
        assert first != samples(1, 3) and first != samples(2, 2) and samples(1, 2) != samples(2, 1)

    def test_flips_half_of_the_images(self):
        def flipped(flip):
            sampler = EpochBatchSampler(10_000, 100, 0, flip)
            return np.mean([sample.view for batch in sampler for sample in batch])

        assert abs(flipped(0.5) - 0.5) < 0.02
        assert flipped(0.0) == 0


class TestEveryView:
    def test_every_image_in_order_once_a_view(self):
        sampler = AllViewsSampler(range(SIZE), 4, views=3)
        batches = list(sampler)
        assert len(batches) == len(sampler) == 9
        shown = [(sample.view, sample.index) for batch in batches for sample in batch]
        assert shown == [(view, i) for view in range(3) for i in range(SIZE)]

    def test_views_do_not_depend_on_how_many_there_are(self):
        first, more = (
            {
                (d.view, d.index): d.seed
                for batch in AllViewsSampler(range(SIZE), size, views)
                for d in batch
            }
            for size, views in ((4, 2), (5, 3))
        )
        assert len(set(more.values())) == 3 * SIZE
        assert all(more[key] == seed for key, seed in first.items())


class TestImageDataset:
    def test_flipped_view_is_the_mirrored_picture(self, pictures):
        transform = fixed_transform((32, 32), "squash", "bicubic", None, None)
        images = ImageDataset(pictures, read, transform)
        mirrored = transform(read(pictures[3].impath).transpose(Image.Transpose.FLIP_LEFT_RIGHT))
        shown = images[Sample(3, FLIPPED)]
        assert (shown["img"] - mirrored).abs().max() <= 1 / 255 + 1e-6
        assert shown["index"] == 3 and np.array_equal(shown["label"], pictures[3].label)

    def test_augmentation_follows_the_draws_seed(self, pictures):
        transform = Compose([RandomResizedCrop(16), ToTensor()])
        images = ImageDataset(pictures, read, transform, augmented=True)
        torch.manual_seed(0)
        before = torch.rand(1)
        torch.manual_seed(0)
        first = images[Sample(0, seed=5)]["img"]
        assert torch.equal(torch.rand(1), before)
        assert torch.equal(first, images[Sample(0, seed=5)]["img"])
        assert not torch.equal(first, images[Sample(0, seed=6)]["img"])

    def test_labels_and_paths_are_those_of_its_batches(self, pictures):
        images = ImageDataset(pictures, read, ToTensor())
        batch = next(iter(DataLoader(images, batch_sampler=SequentialBatchSampler(SIZE, SIZE))))
        assert torch.equal(images.labels(), batch["label"]) and images.paths() == batch["impath"]
        singles = ImageDataset([Picture("a.png", 3), Picture("b.png", 1)], read, ToTensor())
        assert torch.equal(singles.labels(), torch.tensor([3, 1]))

    def test_a_broken_picture_is_named(self, pictures):
        with open(pictures[2].impath, "wb") as file:
            file.write(b"not a picture")
        images = ImageDataset(pictures, read, ToTensor())
        with pytest.raises(RuntimeError, match="2.png"):
            images[Sample(2)]


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_fixed_transform_keeps_or_crops_the_borders(resize):
    picture = np.zeros((40, 80, 3), dtype=np.uint8)
    picture[:, :5] = 255  # a bright left edge
    image = fixed_transform((32, 32), resize, "bicubic", None, None)(Image.fromarray(picture))
    assert image.shape == (3, 32, 32)
    assert bool(image[:, :, 0].mean() > 0.5) is (resize == "squash")


def test_fixed_transform_normalises():
    grey = Image.fromarray(np.full((8, 8, 3), 51, dtype=np.uint8))
    image = fixed_transform((4, 4), "squash", "bicubic", [0.1, 0.2, 0.3], [0.5, 0.5, 0.5])(grey)
    assert torch.allclose(image[:, 0, 0], torch.tensor([0.2, 0.0, -0.2]), atol=1e-6)


@pytest.mark.parametrize(("resize", "mode"), [("stretch", "bicubic"), ("squash", "cubic")])
def test_unknown_transforms_are_refused(resize, mode):
    with pytest.raises(ValueError, match="must be one of"):
        fixed_transform((4, 4), resize, mode, None, None)
