"""Training data: the data set's lists, targets and captions, and the loaders of batches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from dassl.data import DataManager
from dassl.data.transforms import build_transform
from torch import Tensor
from yacs.config import CfgNode

from common.config.config_rules import Choice, Number, declare_rules
from common.items import impaths_of
from common.ranks import first_before_others
from loading.cache.feature_cache import CachedLoader
from loading.cache.feature_store import FeatureStore, cache_folder
from loading.class_samplers import SAMPLERS, make_sampler
from loading.images import read_picture
from loading.loaders import CACHES, LoaderFactory
from loading.own_rows import OwnRowsLoader
from loading.text_loader import LabelledTexts, TextLoader
from loading.transforms import (
    CLIP_MEAN,
    CLIP_STD,
    COUNTABLE,
    INTERPOLATIONS,
    RESIZES,
    augmenting_transform,
    evaluation_transform,
)
from modeling.captions.caption_tokens import MISSING, PICKS, SOURCES, TRUNCATIONS, CaptionTokens
from modeling.encoders.features import Features, gather_features
from modeling.encoders.frozen_clip import FrozenClip
from modeling.encoders.image_views import FLIP
from trainers.base.supervision import one_row_each, read_supervision
from trainers.base.views import training_config

_BATCHES_OF_MEAN = 8  # training batches that COSINE_OFFSET is measured on
_FLIP = 0.5  # probability of "random_flip", as in Dassl


declare_rules(
    "INPUT",
    {
        "INTERPOLATION": Choice(INTERPOLATIONS),
        "RESIZE": Choice(RESIZES),
        "CAPTIONS": Choice(SOURCES),
        "CAPTION_TRUNC": Choice(TRUNCATIONS),
        "CAPTION_PICK": Choice(PICKS),
        "CAPTION_MISSING": Choice(MISSING),
    },
)
declare_rules("DATALOADER", {"CACHE": Choice(CACHES), "CACHE_VIEWS": Number(least=0)})
declare_rules("TRAINER", {"SAMPLER": Choice(SAMPLERS), "SAMPLER_POWER": Number(least=0)})


def extend_cfg(cfg: CfgNode) -> None:
    """Declare CLIP's own preprocessing, the cache, the sampler and the reading of captions."""
    cfg.INPUT.INTERPOLATION = "bicubic"
    cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD = list(CLIP_MEAN), list(CLIP_STD)
    cfg.INPUT.TRANSFORMS = ("random_flip", "normalize")
    cfg.INPUT.RESIZE = "squash"  # squash (the whole picture) | crop (central square)
    # auto (encode each view once where that is exact, else decode once) | features | images | off
    cfg.DATALOADER.CACHE = "auto"
    cfg.DATALOADER.CACHE_DIR = ""  # of features kept for later runs; "": ~/.cache/lmpt
    # Of an augmentation with endless outcomes, encode K of each image and draw among them: fast,
    # but another method. 0: encode a new outcome in every step.
    cfg.DATALOADER.CACHE_VIEWS = 0

    # What stands for an image in methods that read captions (modeling/captions/caption_tokens.py).
    cfg.INPUT.CAPTIONS = "given"  # given | labels | shuffled; the last two are controls
    cfg.INPUT.CAPTION_TRUNC = "words"  # words (whole ones, to 77 tokens) | char75 (LMPT's release)
    cfg.INPUT.CAPTION_PICK = "concat"  # concat | first | random (one in each epoch)
    cfg.INPUT.CAPTION_MISSING = "skip"  # skip | labels | error

    cfg.TRAINER.SAMPLER = "random"  # random | class_aware (each class as often) | balanced
    cfg.TRAINER.SAMPLER_POWER = 1.0  # of balanced: by how much images of rare classes are preferred


class TrainingData:
    """What a run trains and is evaluated on.

    Lists are read and checked at once; loaders follow with `build_loaders`, when there is a CLIP to
    encode with.

    Args:
        cfg: the run's config.
        seed: of the order of images and their views.

    Attributes:
        manager: Dassl's data manager.
        dataset: the data set.
        targets: [N, C] of the training images, or of the captions in their place: 1, 0 or -1.
        captions: of each of them, or None.
        texts: the captions that are trained on in place of images, or None.
        train_loader: batches of the sampler's epoch, as are the others; None before
            `build_loaders`.
        val_loader: none without validation images.
        test_loader: the test images; None without DATASET.TEST_PICTURES.
        plain_train_loader: the training images, each once, without augmentation.
    """

    def __init__(self, cfg: CfgNode, seed: int) -> None:
        self.cfg, self.seed = cfg, seed
        self._countable = COUNTABLE.issuperset(cfg.INPUT.TRANSFORMS)
        self._training, self._fixed = self._transforms()
        with first_before_others():  # who may generate an embedded set
            self.manager = DataManager(
                cfg, custom_tfm_train=self._training, custom_tfm_test=self._fixed
            )
        self.dataset = self.manager.dataset
        self.classnames: list[str] = list(self.dataset.classnames)
        self._supervision = read_supervision(self.dataset, cfg.DATASET.TEXT_AS_IMAGE)
        self.targets, self.captions, self.texts = self._supervision
        self._loaders: LoaderFactory | None = None
        self.train_loader = self.val_loader = self.test_loader = self.plain_train_loader = None

    @property
    def class_counts(self) -> Tensor:
        """Training images of each class [C], on the CPU."""
        return self._supervision.class_counts

    @property
    def num_known(self) -> int:
        """Training labels that are known, present or absent."""
        return self._supervision.num_known

    @property
    def seconds(self) -> float:
        """Seconds spent on making and loading caches."""
        return self._loaders.seconds if self._loaders else 0.0

    @property
    def trains(self) -> bool:
        """Whether there is something to train on; an evaluation has lists and test pictures."""
        return self.cfg.DATASET.TRAIN_PICTURES or self.texts is not None

    def readable_train_loader(self) -> Iterable[dict[str, Any]] | None:
        """`plain_train_loader`, or None if a training picture is absent.

        An evaluation needs none of them, so nobody may have looked so far.
        """
        there = self.trains or all(map(os.path.isfile, impaths_of(self.dataset.train_x)))
        return self.plain_train_loader if there else None

    def build_loaders(self, clip: FrozenClip, tunes_image_encoder: bool = False) -> None:
        """Make the loaders of training, validation and test batches.

        Args:
            clip: encodes images and captions.
            tunes_image_encoder: whether its image tower changes from step to step.
        """
        cfg, dataset = self.cfg, self.dataset
        self._clip, self._tunes = clip, tunes_image_encoder
        flips = self._countable and "random_flip" in cfg.INPUT.TRANSFORMS and self.texts is None
        flips = flips and FLIP not in cfg.INPUT.REGION_VIEWS.split()  # each bag then has both
        sampler = self.train_sampler = make_sampler(
            cfg.TRAINER.SAMPLER,
            self.targets,
            cfg.DATALOADER.TRAIN_X.BATCH_SIZE,
            self.seed,
            _FLIP if flips else 0.0,
            cfg.DATALOADER.CACHE_VIEWS,
            cfg.TRAINER.SAMPLER_POWER,
        )
        loaders = self._loaders = self._image_loaders(clip, tunes_image_encoder)
        if self.texts is not None:
            print(f"Training on {len(self.texts.sentences):,} texts in place of images.")
            texts = self.labelled_texts(self.texts.sentences, self.targets)
            self.train_loader = TextLoader(texts, sampler)
        elif self._countable:
            self.train_loader = loaders.train(dataset.train_x, self._training, sampler)
        else:
            self.train_loader = loaders.augmented(dataset.train_x, self._training, sampler)
        if dataset.val:
            self.val_loader = loaders.evaluation(dataset.val, self._fixed, "val")
        if cfg.DATASET.TEST_PICTURES:
            self.test_loader = loaders.evaluation(dataset.test, self._fixed, "test")
        self.plain_train_loader = loaders.evaluation(dataset.train_x, self._fixed, "plain training")

    def fill_cache(self) -> None:
        """Make the training batches' cache now, if there is one, and not in the first epoch."""
        loader = self.train_loader
        if isinstance(loader, OwnRowsLoader):
            loader = loader.loader
        if isinstance(loader, (CachedLoader, TextLoader)):
            _ = loader.cache

    def start_epoch(self, epoch: int) -> None:
        """Let the sampler, and torch for dropout, draw what an epoch has of its own, from 0."""
        self.train_sampler.epoch = epoch
        torch.manual_seed(int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0]))

    def features(self, batch: dict[str, Any], grad: bool = False) -> Features:
        """Features of a batch's images, on the device: cached ones, or encoded now.

        Args:
            batch: of one of the loaders.
            grad: whether gradients flow into the image tower.
        """
        with torch.set_grad_enabled(grad and torch.is_grad_enabled()):
            return self._encoded(batch, self._clip.encode_images)

    def test_features(self, batch: dict[str, Any]) -> Features:
        """Likewise of an evaluation's batch, whose images may be looked at several times."""
        with torch.no_grad():
            return self._encoded(batch, self._clip.encode_test_images)

    def _encoded(self, batch: dict[str, Any], encode: Callable[[Tensor], Features]) -> Features:
        features = batch.get("features")
        if features is not None:
            return features
        own = encode(batch["img"].to(self._clip.device, non_blocking=True))  # of [B, 3, H, W]
        return gather_features(own, len(batch["index"]))

    def first_features(self) -> Iterator[Features]:
        """Features of the first training batches, which means over images are taken of."""
        return map(self.features, islice(self.train_loader, _BATCHES_OF_MEAN))

    def batch_targets(self, batch: dict[str, Any]) -> Tensor:
        """Targets [B, C] of a batch, on the device."""
        labels = batch["label"].to(self._clip.device, non_blocking=True)
        return one_row_each(labels, len(self.classnames))

    def scored_batch(self, batch: dict[str, Any]) -> tuple[Features, Tensor]:
        """Features of an evaluation's batch, and its targets [B, C], on the device."""
        return self.test_features(batch), self.batch_targets(batch)

    def batch_places(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Places in the training list [B] and random numbers [B] of a batch, on the device."""
        device = self._clip.device
        return tuple(batch[k].to(device, non_blocking=True) for k in ("index", "sample_seed"))

    def labelled_texts(self, sentences: Sequence[str], targets: Tensor) -> LabelledTexts:
        """Sentences in the place of images, with targets [N, C], for this run's text tower."""
        clip = self._clip
        return LabelledTexts(
            sentences, targets, self._encode_texts, clip.device, tokenizer=clip.tokenizer
        )

    def _encode_texts(self, tokens: Tensor) -> Features:
        """Features of token ids [B, 77] on any device."""
        with torch.no_grad(), self._clip.autocast():
            return self._clip.encode_texts(tokens.to(self._clip.device))

    def caption_tokens(self) -> CaptionTokens:
        """The training images' texts, as INPUT.CAPTION* say."""
        options = self.cfg.INPUT
        return CaptionTokens(
            self.captions,
            self.targets,
            self.classnames,
            options.CAPTIONS,
            options.CAPTION_TRUNC,
            options.CAPTION_PICK,
            options.CAPTION_MISSING,
            self.seed,
            self._clip.tokenizer,
        )

    def _transforms(self) -> tuple[Callable, Callable]:
        """What training and evaluation do to a picture; one and the same where views are few."""
        cfg = training_config(self.cfg)
        fixed = evaluation_transform(self.cfg)
        if self._countable:
            return (evaluation_transform(cfg) if self.cfg.INPUT.TEST_VIEWS else fixed), fixed
        return augmenting_transform(cfg.INPUT) or build_transform(cfg, is_train=True), fixed

    def _image_loaders(self, clip: FrozenClip, tunes_image_encoder: bool) -> LoaderFactory:
        cfg = self.cfg
        place = (cache_folder(cfg.DATALOADER.CACHE_DIR), cfg.DATASET.NAME, cfg.MODEL.BACKBONE.NAME)
        store, test_store = (
            FeatureStore(*place, encoder, clip.precision.name, clip.device)
            for encoder in (clip.image_encoder, clip.test_encoder)
        )
        return LoaderFactory(
            encode=clip.encode_images,
            read=read_picture,
            device=clip.device,
            workers=cfg.DATALOADER.NUM_WORKERS,
            encode_batch=cfg.DATALOADER.TEST.BATCH_SIZE,
            cache=cfg.DATALOADER.CACHE,
            tunes_image_encoder=tunes_image_encoder,
            store=store,
            test_encode=clip.encode_test_images if cfg.INPUT.TEST_VIEWS else None,
            test_store=test_store,
        )
