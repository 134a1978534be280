"""Feature caches without loaders."""

from __future__ import annotations

import threading

import pytest
import torch
from torch.utils.data import DataLoader

from loading.cache.feature_encoder import FeatureEncoder
from loading.samplers import FLIPPED, PLAIN, ImageDataset, Sample
from loading.transforms import fixed_transform
from modeling.encoders.features import Features
from modeling.encoders.image_encoder import ImageEncoder
from tests.helpers.sets.small_pictures import SIZE, read, write_pictures

CPU = torch.device("cpu")
FIXED = fixed_transform((32, 32), "squash", "bicubic", [0.5] * 3, [0.25] * 3)


def encode(images):
    """A feature that tells an image from its mirror image."""
    return Features(images[:, :, :, :16].mean((2, 3)))


def jitter(picture):
    """A random transform."""
    return FIXED(picture) * torch.rand(())


@pytest.fixture
def items(tmp_path):
    return write_pictures(tmp_path)


def slowly(images, view):
    """Features [N, 3] of a view, one image after the other."""
    samples = (Sample(i, view) for i in range(len(images)))
    return torch.cat([encode(images[s]["img"][None]).global_features for s in samples])


@pytest.mark.parametrize("views", [("plain",), ("plain", "mirrored")])
def test_fixed_views_are_those_of_single_images(items, views):
    images = ImageDataset(items, read, FIXED)
    cache = FeatureEncoder(encode, CPU, batch_size=4).fixed(images, "test", views)
    found = cache.views.global_features
    assert found.shape == (len(views), SIZE, 3)
    for view, features in zip((PLAIN, FLIPPED), found, strict=False):
        torch.testing.assert_close(features, slowly(images, view), atol=1e-5, rtol=0)
    assert cache.impaths == [item.impath for item in items]
    assert torch.equal(cache.labels, images.labels())


def test_random_views_differ_and_come_again(items):
    images = ImageDataset(items, read, jitter, augmented=True)
    encoder = FeatureEncoder(encode, CPU, batch_size=4)

    def decode(sampler):
        return DataLoader(images, batch_sampler=sampler)

    first, again = (encoder.random_views(images, 3, decode).views.global_features for _ in range(2))
    assert first.shape == (3, SIZE, 3) and torch.equal(first, again)
    ratio = first[:, :, 0] / slowly(ImageDataset(items, read, FIXED), PLAIN)[:, 0]
    assert ((ratio >= 0) & (ratio <= 1)).all() and ratio.std(dim=0).min() > 0


def test_the_number_of_threads_changes_nothing(vit, items):
    tower, seen = ImageEncoder(vit), set()
    images = ImageDataset(items, read, FIXED)

    def encoded(count):
        together = threading.Barrier(count)  # so that each of the three batches has a thread

        def encode(images):
            seen.add((threading.get_ident(), torch.get_num_threads()))
            together.wait(timeout=60)
            return tower(images)

        torch.set_num_threads(count)
        try:
            cache = FeatureEncoder(encode, CPU, batch_size=4).fixed(images, "test", ("plain",))
            return cache.views.global_features
        finally:
            assert torch.get_num_threads() == count
            torch.set_num_threads(1)

    assert torch.equal(encoded(1), encoded(3))
    assert {count for _, count in seen} == {1} and len(seen) > 2
