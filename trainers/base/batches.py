"""What a method trains and is tested on: batches of views, of images or of captions."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from dassl.data import DataManager
from dassl.data.transforms import build_transform
from dassl.data.transforms.transforms import AVAI_CHOICES
from torch import Tensor
from yacs.config import CfgNode

from common.config_rules import Choice, Number, declare_rules
from loading.cache.feature_store import FeatureStore, cache_folder
from loading.images import read_picture
from loading.loaders import CACHES, ViewLoaders
from loading.samplers import SAMPLERS, EpochPlan, make_plan
from loading.text_loader import TextLoader
from loading.transforms import (
    COUNTABLE,
    INTERPOLATIONS,
    RESIZES,
    augmenting_transform,
    check_transforms,
    fixed_transform,
)
from modeling.captions.caption_tokens import MISSING, PICKS, SOURCES, TRUNCATIONS, CaptionSource
from modeling.encoders.features import Views
from trainers.base.life_cycle import LifeCycle

_FLIP = 0.5  # probability of "random_flip", as in Dassl


def extend_cfg(cfg: CfgNode) -> None:
    """Declare CLIP's own preprocessing, the cache, the sampler and the reading of captions."""
    cfg.INPUT.INTERPOLATION = "bicubic"
    cfg.INPUT.PIXEL_MEAN = [0.48145466, 0.4578275, 0.40821073]  # CLIP's
    cfg.INPUT.PIXEL_STD = [0.26862954, 0.26130258, 0.27577711]
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

    cfg.TRAINER.SAMPLER = "random"  # random | class_aware (every class equally often)


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
declare_rules("TRAINER", {"SAMPLER": Choice(SAMPLERS)})


class Batches(LifeCycle):
    """Dassl's data manager, with loaders that repeat exactly and keep the last batch.

    Attributes:
        train_targets: [N, C] of the training images (or captions): 1, 0 or -1.
        train_captions: of each of them, or None.
        encoder_trains: set by a class whose image tower learns: images are then encoded in every
            step, with gradients.
    """

    encoder_trains = False

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse values that would fail late or be ignored."""
        super().check_cfg(cfg)
        if cfg.INPUT.NO_TRANSFORM:
            raise ValueError("INPUT.NO_TRANSFORM True leaves no tensors to encode; set it False.")
        check_transforms(cfg.INPUT, AVAI_CHOICES)
        if cfg.DATASET.TEXT_AS_IMAGE and cfg.DATALOADER.CACHE_VIEWS:
            raise ValueError("DATALOADER.CACHE_VIEWS is for images; texts have one view. Set it 0.")
        if cfg.DATASET.TEXT_AS_IMAGE and self.encoder_trains:
            raise ValueError(
                f"{cfg.TRAINER.NAME} trains the image tower, and captions hold no images; set "
                "DATASET.TEXT_AS_IMAGE False."
            )

    def build_data_loader(self) -> None:
        """Loaders of training, validation and test batches."""
        cfg = self.cfg
        countable = COUNTABLE.issuperset(cfg.INPUT.TRANSFORMS)
        training, fixed = self._transforms(countable)
        self.dm = DataManager(cfg, custom_tfm_train=training, custom_tfm_test=fixed)
        self.num_classes, self.lab2cname = self.dm.num_classes, self.dm.lab2cname
        self.num_source_domains = self.dm.num_source_domains
        dataset = self.dm.dataset
        self.classnames = dataset.classnames
        self.check_validation(bool(dataset.val))
        self._read_supervision()
        flips = countable and "random_flip" in cfg.INPUT.TRANSFORMS and self.texts is None
        plan = self.train_plan = make_plan(
            cfg.TRAINER.SAMPLER,
            list(self.train_targets.numpy()),
            cfg.DATALOADER.TRAIN_X.BATCH_SIZE,
            self.seed,
            _FLIP if flips else 0.0,
            cfg.DATALOADER.CACHE_VIEWS,
        )
        loaders = self.loaders = self._view_loaders()
        if self.texts is not None:
            self.train_loader_x = self._text_loader(plan)
        elif countable:
            self.train_loader_x = loaders.train(dataset.train_x, training, plan)
        else:
            self.train_loader_x = loaders.augmented(dataset.train_x, training, plan)
        self.train_loader_u = None
        self.val_loader = loaders.evaluation(dataset.val, fixed, "val") if dataset.val else None
        self.test_loader = loaders.evaluation(dataset.test, fixed, "test")
        self.plain_train_loader = loaders.evaluation(dataset.train_x, fixed, "plain training")

    def _transforms(self, countable: bool) -> tuple[Any, Any]:
        """What training and evaluation do to a picture; one and the same where views are few."""
        cfg, options = self.cfg, self.cfg.INPUT
        colours = (options.PIXEL_MEAN, options.PIXEL_STD)
        fixed = fixed_transform(
            options.SIZE,
            options.RESIZE,
            options.INTERPOLATION,
            *(colours if "normalize" in options.TRANSFORMS else (None, None)),
        )
        if countable:
            return fixed, fixed
        return augmenting_transform(options) or build_transform(cfg, is_train=True), fixed

    def _view_loaders(self) -> ViewLoaders:
        cfg = self.cfg
        store = FeatureStore(
            cache_folder(cfg.DATALOADER.CACHE_DIR),
            cfg.DATASET.NAME,
            cfg.MODEL.BACKBONE.NAME,
            lambda: self.image_encoder,  # built after the loaders, and asked for after that
            self.method_cfg.PREC,
            self.device,
        )
        return ViewLoaders(
            encode=self.encode_images,
            read=read_picture,
            device=self.device,
            workers=cfg.DATALOADER.NUM_WORKERS,
            encode_batch=cfg.DATALOADER.TEST.BATCH_SIZE,
            cache=cfg.DATALOADER.CACHE,
            encoder_trains=self.encoder_trains,
            store=store,
        )

    def _read_supervision(self) -> None:
        """Targets and captions of what is trained on: the images, or texts in their place."""
        dataset = self.dm.dataset
        self.texts = None
        if self.cfg.DATASET.TEXT_AS_IMAGE:
            self.texts = getattr(dataset, "texts", None)
            if self.texts is None:
                raise ValueError(
                    f"{self.cfg.DATASET.NAME} has no captions to train on; set "
                    "DATASET.TEXT_AS_IMAGE False."
                )
            self.train_targets = torch.as_tensor(self.texts.labels)  # [N, C]
            self.train_captions = [[sentence] for sentence in self.texts.sentences]
            return
        labels = torch.stack([torch.as_tensor(item.label) for item in dataset.train_x])
        self.train_targets = self._one_row_each(labels)  # [N, C]
        self.train_captions = getattr(dataset, "captions", None)

    def _one_row_each(self, labels: Tensor) -> Tensor:
        """Targets [B, C] of labels [B, C], or of one class index an image [B]."""
        return F.one_hot(labels, self.num_classes).float() if labels.dim() == 1 else labels

    def _text_loader(self, plan: EpochPlan) -> TextLoader:
        texts = self.texts
        print(f"Training on {len(texts.sentences):,} texts in place of images.")

        def encode(tokens: Tensor) -> Views:
            with torch.no_grad(), self.precision.autocast():
                return self.encode_texts(tokens.to(self.device))

        return TextLoader(texts.sentences, self.train_targets, encode, plan, self.device)

    def caption_source(self) -> CaptionSource:
        """The training images' texts, as INPUT.CAPTION* say, on the device."""
        options = self.cfg.INPUT
        return CaptionSource(
            self.train_captions,
            self.train_targets,
            self.classnames,
            options.CAPTIONS,
            options.CAPTION_TRUNC,
            options.CAPTION_PICK,
            options.CAPTION_MISSING,
            self.seed,
        ).to(self.device)

    def parse_batch_train(self, batch: dict[str, Any]) -> tuple[Views, Tensor]:
        """Views and targets [B, C] of a batch, on the device; images are encoded if need be."""
        targets = self._one_row_each(batch["label"].to(self.device, non_blocking=True))
        return self._views(batch, learning=self.encoder_trains), targets

    def parse_batch_test(self, batch: dict[str, Any]) -> tuple[Views, Tensor]:
        """Views and labels as the evaluator wants them: [B, C], or class indices [B]."""
        return self._views(batch), batch["label"].to(self.device, non_blocking=True)

    def _views(self, batch: dict[str, Any], learning: bool = False) -> Views:
        views = batch.get("views")
        if views is None:
            with torch.set_grad_enabled(learning and torch.is_grad_enabled()):
                views = self.encode_images(batch["img"].to(self.device, non_blocking=True))
        return views

    def seconds_spent(self) -> dict[str, float]:
        """Seconds of making caches, and of training."""
        return {"caching": self.loaders.seconds, **super().seconds_spent()}

    def before_epoch(self) -> None:
        """Draw this epoch's order and views."""
        self.train_plan.epoch = self.epoch
