from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import nn
from torch.utils.data import DataLoader
from torchvision.transforms import Compose, RandomResizedCrop, ToTensor

from loading import loaders as loaders_module
from loading.cache.feature_cache import FeatureCache
from loading.cache.feature_store import FeatureStore
from loading.cache.image_cache import ImageCache, PreloadingLoader
from loading.loaders import LoaderFactory
from loading.samplers import AllViewsSampler, EpochBatchSampler, ImageDataset, Sample
from loading.transforms import fixed_transform
from modeling.encoders.dense_image_encoder import DenseImageEncoder
from modeling.encoders.features import Features
from modeling.encoders.image_encoder import ImageEncoder
from tests.helpers.models.small_clip import RESOLUTION, random_clip
from tests.helpers.sets.small_pictures import SIZE, Picture, read, write_pictures

CPU = torch.device("cpu")
CROP = Compose([RandomResizedCrop(32), ToTensor()])


def make_loaders(encoder, cache="auto", **options):
    return LoaderFactory(encoder, read, CPU, options.pop("workers", 0), 4, cache, **options)


def fixed(tower="ViT"):
    side = RESOLUTION[tower]
    return fixed_transform((side, side), "squash", "bicubic", [0.5] * 3, [0.25] * 3)


@pytest.fixture
def pictures(tmp_path):
    return write_pictures(tmp_path)


class TestFeatures:
    """Cached features against decoding and encoding in every step."""

    @pytest.mark.parametrize("flip", [0.0, 0.5])
    @pytest.mark.parametrize("kind", [ImageEncoder, DenseImageEncoder])
    def test_cached_equals_encoding_in_every_step(self, kind, flip, tower, clip_model, pictures):
        encoder = kind(clip_model)
        sampler = EpochBatchSampler(SIZE, 4, seed=3, flip=flip)
        cached, decoded = (
            make_loaders(encoder, cache).train(pictures, fixed(tower), sampler)
            for cache in ("auto", "off")
        )
        views_seen = 0
        for epoch in (0, 5):
            sampler.epoch = epoch
            for fast, slow in zip(cached, decoded, strict=True):
                views, expected = fast["features"], encoder(slow["img"])
                assert torch.allclose(views.global_features, expected.global_features, atol=1e-5)
                if kind is DenseImageEncoder:  # kept in fp16
                    gap = (views.local_features - expected.local_features).abs().max()
                    assert gap < 5e-4 and views.local_features.dtype is torch.float32
                assert torch.equal(fast["label"], slow["label"])
                assert torch.equal(fast["index"], slow["index"])
                assert fast["impath"] == slow["impath"]
                views_seen += len(views)
        assert views_seen == 2 * SIZE
        assert len(cached.cache.views.global_features) == (2 if flip else 1)

    def test_evaluation_sees_every_image_in_order(self, vit, pictures):
        encoder = ImageEncoder(vit)
        cached, decoded = (
            list(make_loaders(encoder, cache).evaluation(pictures, fixed(), "test"))
            for cache in ("auto", "off")
        )
        assert len(cached) == 1 and [len(batch["label"]) for batch in decoded] == [4, 4, 3]
        expected = torch.cat([encoder(batch["img"]).global_features for batch in decoded])
        assert torch.allclose(cached[0]["features"].global_features, expected, atol=1e-5)
        assert cached[0]["impath"] == [item.impath for item in pictures]

    def test_evaluating_training_images_encodes_nothing_again(self, vit, pictures):
        made, transform = make_loaders(ImageEncoder(vit)), fixed()
        training = made.train(pictures, transform, EpochBatchSampler(SIZE, 4, 1, flip=0.5))
        plain = made.evaluation(pictures, transform, "plain training")
        assert plain.cache is training.cache
        (batch,) = plain
        (alone,) = make_loaders(ImageEncoder(vit)).evaluation(pictures, transform, "test")
        assert torch.equal(batch["features"].global_features, alone["features"].global_features)
        assert made.evaluation(pictures, fixed(), "other").cache is not training.cache

    def test_class_indices_are_kept_as_such(self, vit, pictures):
        items = [Picture(item.impath, i % 3) for i, item in enumerate(pictures)]
        (batch,) = make_loaders(ImageEncoder(vit)).evaluation(items, fixed(), "test")
        assert batch["label"].tolist() == [i % 3 for i in range(SIZE)]


class TestStore:
    """Files of earlier runs are served where everything agrees, and nowhere else."""

    @pytest.fixture
    def run(self, tmp_path, pictures):
        def run(
            clip_model=None, items=pictures, transform=None, flip=0.5, precision="fp32", name="Set"
        ):
            """How many batches a run encodes, and its features."""
            encoder = ImageEncoder(clip_model or random_clip())
            calls = []

            def encode(images):
                calls.append(len(images))
                return encoder(images)

            store = FeatureStore(tmp_path / "cache", name, "ViT-B/16", encoder, precision, CPU)
            made = make_loaders(encode, store=store)
            loader = made.train(items, transform or fixed(), EpochBatchSampler(SIZE, 4, 1, flip))
            features = loader.cache.views.global_features
            return len(calls), features, loader

        return run

    def test_a_second_run_encodes_nothing(self, run, tmp_path):
        (first, encoded, _), (second, loaded, _) = run(), run()
        assert (first, second) == (6, 0) and torch.equal(encoded, loaded)
        (path,) = (tmp_path / "cache").glob("*/*.safetensors")
        with safe_open(path, framework="pt") as file:
            stated = file.metadata()
        assert stated["views"] == "plain, mirrored" and stated["views of each"] == "2"
        assert stated["backbone"] == "ViT-B/16" and stated["encode"].endswith("encode")

    def test_labels_come_from_the_list_not_from_the_file(self, run, pictures):
        run()
        items = [Picture(item.impath, 1 - item.label) for item in pictures]
        calls, _, loader = run(items=items)
        assert calls == 0
        for batch in loader:
            expected = torch.stack([torch.tensor(items[i].label) for i in batch["index"]])
            assert torch.equal(batch["label"], expected)

    def test_whatever_changes_features_is_encoded_anew(self, run, pictures):
        _, before, _ = run()
        other_weights = random_clip(seed=1)
        changes = [
            {"clip_model": other_weights},
            {"transform": fixed_transform((32, 32), "crop", "bicubic", [0.5] * 3, [0.25] * 3)},
            {"flip": 0.0},
            {"precision": "bf16"},
        ]
        for change in changes:
            assert run(**change)[0] > 0, change
        assert not torch.allclose(run(clip_model=other_weights)[1], before)
        calls, after, _ = run(items=pictures[::-1])  # the same pictures, at other places
        assert calls == 0 and torch.equal(after.flip(1), before)

    def test_a_changed_picture_is_encoded_anew(self, run, pictures):
        _, before, _ = run()
        read(pictures[0].impath).convert("L").save(pictures[4].impath)
        calls, after, _ = run()
        assert calls == 2 and not torch.allclose(before[:, 4], after[:, 4])
        kept = [i for i in range(SIZE) if i != 4]
        assert torch.equal(after[:, kept], before[:, kept])

    def test_a_picture_that_broke_is_an_error_even_if_its_features_were_kept(self, run, pictures):
        run()
        with open(pictures[2].impath, "wb"):
            pass
        with pytest.raises(RuntimeError, match="2.png"):
            run()


class TestRandomViews:
    """K views of each image under augmentations."""

    def loader(self, encoder, pictures, views=3, **options):
        sampler = EpochBatchSampler(SIZE, 4, seed=1, views=views)
        return make_loaders(encoder, **options).augmented(pictures, CROP, sampler)

    def test_each_batch_holds_views_of_fixed_seeds(self, vit, pictures):
        encoder = ImageEncoder(vit)
        loader = self.loader(encoder, pictures)
        seeds = {
            (d.view, d.index): d.seed for batch in AllViewsSampler(range(SIZE), 4, 3) for d in batch
        }
        images = ImageDataset(pictures, read, CROP, augmented=True)
        for samples, batch in zip(loader.sampler, loader, strict=True):
            shown = [
                images[Sample(d.index, d.view, seeds[d.view, d.index])]["img"] for d in samples
            ]
            expected = encoder(torch.stack(shown)).global_features
            assert torch.allclose(batch["features"].global_features, expected, atol=1e-5)
        views = loader.cache.views.global_features
        assert len(views) == 3 and not torch.allclose(views[0], views[1], atol=1e-3)

    @pytest.mark.parametrize("cache", ["images", "off"])
    def test_they_need_cached_features(self, vit, pictures, cache):
        with pytest.raises(ValueError, match="CACHE_VIEWS 3 picks among cached features"):
            self.loader(ImageEncoder(vit), pictures, cache=cache)

    def test_they_need_a_frozen_tower(self, vit, pictures):
        with pytest.raises(ValueError, match="CACHE_VIEWS 3"):
            self.loader(ImageEncoder(vit), pictures, tunes_image_encoder=True)

    def test_they_need_endless_outcomes(self, vit, pictures):
        with pytest.raises(ValueError, match="two at most"):
            make_loaders(ImageEncoder(vit)).train(
                pictures, fixed(), EpochBatchSampler(SIZE, 4, seed=1, views=2)
            )


class Shift(nn.Module):
    """An encoder that trains: its features move with its weight."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, images):
        return Features(F.normalize(images.mean((2, 3)) * self.weight, dim=-1))


class TestImages:
    def kinds(self, cache, **options):
        """Types of the loaders of fixed training, augmented training and evaluation."""
        made = make_loaders(Shift(), cache, **options)
        sampler = EpochBatchSampler(SIZE, 4, seed=1, flip=0.5)
        return (
            made.train(self.items, fixed(), sampler),
            made.augmented(self.items, CROP, sampler),
            made.evaluation(self.items, fixed(), "test"),
        )

    @pytest.fixture(autouse=True)
    def listed(self, pictures):
        self.items = pictures

    def test_auto_keeps_pictures_where_features_move(self, capsys):
        train, augmented, test = self.kinds("auto", tunes_image_encoder=True)
        assert isinstance(train.cache, ImageCache) and isinstance(test.cache, ImageCache)
        assert isinstance(augmented, PreloadingLoader)
        assert "Encoding in every step, for the image tower trains" in capsys.readouterr().out

    def test_auto_keeps_pictures_of_augmentations_and_features_of_tests(self, capsys):
        train, augmented, test = self.kinds("auto")
        assert isinstance(train.cache, FeatureCache) and isinstance(test.cache, FeatureCache)
        assert isinstance(augmented, PreloadingLoader)
        assert "transforms have endless outcomes" in capsys.readouterr().out

    def test_off_decodes_in_every_step(self):
        assert all(isinstance(loader, DataLoader) for loader in self.kinds("off"))

    def test_images_keeps_pictures_everywhere(self):
        train, augmented, test = self.kinds("images")
        assert isinstance(train.cache, ImageCache) and isinstance(test.cache, ImageCache)
        assert isinstance(augmented, PreloadingLoader)
        assert [len(batch["img"]) for batch in test] == [4, 4, 3]

    @pytest.mark.parametrize("make", ["train", "evaluation", "augmented"])
    def test_features_that_would_change_the_method_are_refused(self, make):
        trains = make != "augmented"
        made = make_loaders(Shift(), "features", tunes_image_encoder=trains)
        last = "test" if make == "evaluation" else EpochBatchSampler(SIZE, 4, seed=1)
        reason = "the image tower trains" if trains else "endless outcomes"
        with pytest.raises(ValueError, match=f"would change the method, for .*{reason}.*auto"):
            getattr(made, make)(self.items, fixed(), last)

    def test_unknown_kinds_are_refused(self):
        with pytest.raises(ValueError, match="Did you mean 'images'"):
            make_loaders(Shift(), "image")

    @pytest.mark.parametrize("kind", ["train", "augmented"])
    def test_kept_pictures_equal_decoded_ones(self, kind):
        sampler = EpochBatchSampler(SIZE, 4, seed=3, flip=0.5)
        transform = fixed() if kind == "train" else CROP
        kept, decoded = (
            getattr(make_loaders(Shift(), cache), kind)(self.items, transform, sampler)
            for cache in ("images", "off")
        )
        for epoch in (0, 2):
            sampler.epoch = epoch
            for fast, slow in zip(kept, decoded, strict=True):
                assert torch.equal(fast["img"], slow["img"])
                assert torch.equal(fast["label"], slow["label"])

    def test_too_many_pictures_are_decoded_in_every_step(self, monkeypatch, capsys):
        monkeypatch.setattr(loaders_module, "MAX_CACHE_BYTES", SIZE * 3 * 32 * 32 - 1)
        train, _, test = self.kinds("images")
        assert isinstance(train, DataLoader) and isinstance(test, DataLoader)
        assert "Decoding in every step: 11 train images take" in capsys.readouterr().out

    def test_workers_without_common_memory_decode_in_every_step(self, monkeypatch, capsys):
        monkeypatch.setattr(loaders_module, "get_start_method", lambda: "spawn")
        _, augmented, _ = self.kinds("images", workers=2)
        assert isinstance(augmented, DataLoader)
        assert "do not share memory" in capsys.readouterr().out

    def test_workers_change_nothing(self):
        sampler = EpochBatchSampler(SIZE, 4, seed=3, flip=0.5)
        alone, helped = (
            make_loaders(Shift(), "off", workers=n).augmented(self.items, CROP, sampler)
            for n in (0, 2)
        )
        assert helped.persistent_workers
        for epoch in (0, 1):  # the second one asks the workers of the first
            sampler.epoch = epoch
            for one, other in zip(alone, helped, strict=True):
                assert torch.equal(one["img"], other["img"])
