from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader

from loading.cache import image_cache
from loading.cache.feature_cache import as_index_tensor
from loading.cache.image_cache import ImageCache, PreloadedImages, PreloadingLoader
from loading.samplers import EpochBatchSampler, ImageDataset
from loading.transforms import augmenting_transform, fixed_transform, split_at_pixels
from tests.helpers.sets.small_pictures import SIZE, read, write_pictures
from tests.helpers.transform_inputs import inputs

CPU = torch.device("cpu")
MEAN, STD = [0.48, 0.46, 0.41], [0.27, 0.26, 0.28]


@pytest.fixture
def pictures(tmp_path):
    return write_pictures(tmp_path)


class Counting:
    """Reads pictures and counts them."""

    def __init__(self):
        self.paths = []

    def __call__(self, path):
        self.paths.append(path)
        return read(path)


class TestImageCache:
    @pytest.mark.parametrize("resize", ["squash", "crop"])
    def test_batches_are_what_decoding_gives(self, pictures, resize):
        transform = fixed_transform((24, 24), resize, "bicubic", MEAN, STD)
        to_pixels, finish = split_at_pixels(transform)
        cache = ImageCache.build(ImageDataset(pictures, read, to_pixels), finish, 4, CPU, "train")
        assert len(cache) == SIZE and cache.pixels.dtype is torch.uint8
        sampler = EpochBatchSampler(SIZE, 4, seed=1, flip=0.5)
        loader = DataLoader(ImageDataset(pictures, read, transform), batch_sampler=sampler)
        for samples, expected in zip(sampler, loader, strict=True):
            batch = cache.batch(samples, as_index_tensor(samples, CPU))
            assert torch.equal(batch["img"], expected["img"])
            for name in ("label", "index", "sample_seed"):
                assert torch.equal(batch[name], expected[name])
            assert batch["impath"] == expected["impath"]

    def test_pictures_are_read_once(self, pictures):
        count = Counting()
        to_pixels, finish = split_at_pixels(fixed_transform((8, 8), "squash", "bicubic", MEAN, STD))
        cache = ImageCache.build(ImageDataset(pictures, count, to_pixels), finish, 4, CPU, "test")
        for samples in EpochBatchSampler(SIZE, 4, seed=1):
            cache.batch(samples, as_index_tensor(samples, CPU))
        assert sorted(count.paths) == sorted([p.impath for p in pictures] + [pictures[0].impath])


class TestPictureMemory:
    def test_pictures_are_those_that_reading_gives(self, pictures):
        paths = [picture.impath for picture in pictures]
        memory = PreloadedImages(read)
        memory.keep(paths)
        assert all(memory(path).tobytes() == read(path).tobytes() for path in paths)

    def test_only_the_kept_are_remembered(self, pictures):
        count = Counting()
        memory = PreloadedImages(count)
        memory.keep([pictures[0].impath, pictures[1].impath, pictures[0].impath])
        for picture in (*pictures[:3], *pictures[:3]):
            memory(picture.impath)
        assert len(count.paths) == 2 + 2

    def test_too_many_are_read_in_every_step(self, pictures, monkeypatch, capsys):
        monkeypatch.setattr(image_cache, "MAX_CACHE_BYTES", SIZE * 50 * 40 * 4 - 1)
        count = Counting()
        memory = PreloadedImages(count)
        memory.keep([picture.impath for picture in pictures])
        assert count.paths == []
        assert "Decoding in every step: 11 pictures take" in capsys.readouterr().out
        monkeypatch.setattr(image_cache, "MAX_CACHE_BYTES", SIZE * 50 * 40 * 4)
        memory.keep([picture.impath for picture in pictures])
        assert len(count.paths) == SIZE


@pytest.mark.parametrize("workers", [0, 2])
def test_augmented_batches_are_what_decoding_gives(pictures, workers):
    transform = augmenting_transform(
        inputs("random_resized_crop", "random_flip", "colorjitter", "cutout", "normalize")
    )
    sampler = EpochBatchSampler(SIZE, 4, seed=1, flip=0.5)
    count = Counting()
    memory = PreloadedImages(count)
    images = ImageDataset(pictures, memory, transform, augmented=True)
    keep = {"num_workers": workers, "persistent_workers": workers > 0}
    kept = PreloadingLoader(
        DataLoader(images, batch_sampler=sampler, **keep), memory, images.paths()
    )
    decoded = DataLoader(
        ImageDataset(pictures, read, transform, augmented=True), batch_sampler=sampler
    )
    assert len(kept) == 3 and count.paths == []
    for epoch in (0, 4):
        sampler.epoch = epoch
        for batch, expected in zip(kept, decoded, strict=True):
            assert torch.equal(batch["img"], expected["img"])
            assert torch.equal(batch["index"], expected["index"])
    assert len(count.paths) == SIZE
