"""What every prompt method shares: a frozen CLIP, views of its images, one training step."""

from __future__ import annotations

from itertools import islice
from typing import Any

import torch
from dassl.data import DataManager
from dassl.data.transforms import build_transform
from dassl.data.transforms.transforms import AVAI_CHOICES
from dassl.utils import load_pretrained_weights
from torch import Tensor, nn
from yacs.config import CfgNode

from losses.config import loss_from_config
from modeling.caption_source import CaptionSource
from modeling.choices import check_choice
from modeling.clip_loader import input_resolution, load_clip
from modeling.data_path import make_plan
from modeling.feature_cache import CachedLoader
from modeling.image_encoder import ImageEncoder
from modeling.loaders import ViewLoaders
from modeling.logit_affine import LogitAffine
from modeling.pictures import read_picture
from modeling.precision import Precision
from modeling.prompt_learner import PromptLearner
from modeling.text_encoder import TextEncoder
from modeling.threads import step_threads, threads
from modeling.transforms import COUNTABLE, augmenting_transform, check_transforms, fixed_transform
from modeling.views import Views
from trainers.life_cycle import LifeCycle

_BATCHES_OF_MEAN = 8  # training batches that LOGIT_BIAS is measured on
_FLIP = 0.5  # probability of "random_flip", as in Dassl


def extend_cfg(cfg: CfgNode) -> None:
    """Declare the keys that every prompt method reads, and CLIP's own preprocessing."""
    cfg.INPUT.INTERPOLATION = "bicubic"
    cfg.INPUT.PIXEL_MEAN = [0.48145466, 0.4578275, 0.40821073]  # CLIP's
    cfg.INPUT.PIXEL_STD = [0.26862954, 0.26130258, 0.27577711]
    cfg.INPUT.TRANSFORMS = ("random_flip", "normalize")
    cfg.INPUT.RESIZE = "squash"  # squash (the whole picture) | crop (central square)
    cfg.DATALOADER.CACHE = "auto"  # auto: encode each view once where that is exact | off
    cfg.MODEL.BACKBONE.NAME = "tiny"  # a CLIP name or the path of a weight file

    # What stands for an image in methods that read captions (modeling/caption_source.py).
    cfg.INPUT.CAPTIONS = "given"  # given | labels | shuffled; the last two are controls
    cfg.INPUT.CAPTION_TRUNC = "words"  # words (whole ones, to 77 tokens) | char75 (LMPT's release)
    cfg.INPUT.CAPTION_PICK = "concat"  # concat | first | random (one in each epoch)
    cfg.INPUT.CAPTION_MISSING = "skip"  # skip | labels | error

    cfg.TRAINER.SAMPLER = "random"  # random | class_aware (every class equally often)


def prompt_options(**changes: object) -> CfgNode:
    """Keys of a method that learns contexts, spelled as CoOp spells them.

    Args:
        **changes: defaults that differ, and keys of the method's own.
    """
    options = {
        "N_CTX": 16,  # M, context tokens
        "CSC": False,  # class-specific contexts
        "CTX_INIT": "",  # words to start from; their number then replaces N_CTX
        "CLASS_TOKEN_POSITION": "end",  # end | middle | front
        "PREC": "fp32",  # fp32 | fp16 | bf16 | amp
        "LOGIT_SCALE": "clip",  # clip (CLIP's own) | a number | learnt
        "LOGIT_BIAS": "off",  # off | fixed (the mean cosine before training) | learnt
    }
    return CfgNode({**options, **changes})


class PromptTrainer(LifeCycle):
    """A Dassl trainer around a frozen CLIP.

    A method overrides some of `build_learner`, `text_features`, `compute_logits` and `compute_loss`
    and declares its keys under `TRAINER.<CLASS NAME IN CAPITALS>`, `method_cfg` here.
    """

    def __init__(self, cfg: CfgNode) -> None:
        self.method_cfg = cfg.TRAINER[type(self).__name__.upper()]
        self.seed = max(cfg.SEED, 0)
        self._text_features_once: Tensor | None = None
        super().__init__(cfg)
        if hasattr(self.evaluator, "describe_classes"):
            self.evaluator.describe_classes(self.dm.dataset.class_counts, self.dm.dataset.groups)

    # --- What a method may change -----------------------------------------------------------

    def build_learner(self) -> nn.Module | None:
        """The trainable part; None for a method that trains nothing."""
        options = self.method_cfg
        learner = PromptLearner(
            self.classnames,
            self.clip,
            n_ctx=options.N_CTX,
            csc=options.CSC,
            ctx_init=options.CTX_INIT,
            position=options.CLASS_TOKEN_POSITION,
            generator=torch.Generator().manual_seed(self.seed),
        )
        if learner.n_ctx != options.N_CTX:
            print(f"CTX_INIT has {learner.n_ctx} tokens; N_CTX {options.N_CTX} is not used.")
        return learner

    def text_features(self) -> Tensor:
        """One L2-normalised feature for each class: [C, D]."""
        return self.text_encoder(self.prompt_learner(), self.prompt_learner.eot)

    def compute_logits(self, views: Views, text_features: Tensor) -> Tensor:
        """Logits [B, C] from B views and text features [C, D]: scaled cosines."""
        return self.affine(views.global_features @ text_features.t())

    def compute_loss(
        self, logits: Tensor, targets: Tensor, batch: dict[str, Any]
    ) -> dict[str, Tensor]:
        """Loss terms for the log; the one called "loss" is minimised.

        Args:
            logits: [B, C] of `compute_logits`, fp32.
            targets: [B, C], 1 present, 0 absent, -1 unknown.
            batch: has `index` [B], the images' places in the training list, `draw` [B], random
                numbers of this epoch, and `text_features` [C, D].
        """
        return {"loss": self.criterion(logits, targets)}

    # --- Data -------------------------------------------------------------------------------

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse values that would fail late or be ignored."""
        super().check_cfg(cfg)
        check_choice("DATALOADER.CACHE", cfg.DATALOADER.CACHE, ("auto", "off"))
        if cfg.INPUT.NO_TRANSFORM:
            raise ValueError("INPUT.NO_TRANSFORM True leaves no tensors to encode; set it False.")
        check_transforms(cfg.INPUT, AVAI_CHOICES)

    def build_data_loader(self) -> None:
        """Dassl's data manager, with loaders that repeat exactly and keep the last batch."""
        cfg = self.cfg
        colours = (cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD)
        fixed = fixed_transform(
            cfg.INPUT.SIZE,
            cfg.INPUT.RESIZE,
            cfg.INPUT.INTERPOLATION,
            *(colours if "normalize" in cfg.INPUT.TRANSFORMS else (None, None)),
        )
        countable = COUNTABLE.issuperset(cfg.INPUT.TRANSFORMS)
        training = fixed
        if not countable:
            training = augmenting_transform(cfg.INPUT) or build_transform(cfg, is_train=True)
        self.dm = DataManager(cfg, custom_tfm_train=training, custom_tfm_test=fixed)
        self.num_classes, self.lab2cname = self.dm.num_classes, self.dm.lab2cname
        self.num_source_domains = self.dm.num_source_domains
        dataset = self.dm.dataset
        self.classnames = dataset.classnames

        self.check_validation(bool(dataset.val))
        loaders = ViewLoaders(
            encode=self.encode_images,
            read=read_picture,
            device=self.device,
            workers=cfg.DATALOADER.NUM_WORKERS,
            encode_batch=cfg.DATALOADER.TEST.BATCH_SIZE,
            cached=cfg.DATALOADER.CACHE == "auto",
        )
        flip = _FLIP if countable and "random_flip" in cfg.INPUT.TRANSFORMS else 0.0
        batch_size = cfg.DATALOADER.TRAIN_X.BATCH_SIZE
        self.train_plan = make_plan(
            cfg.TRAINER.SAMPLER,
            [item.label for item in dataset.train_x],
            batch_size,
            self.seed,
            flip,
        )
        if not countable:
            print(f"Encoding in every step, for {cfg.INPUT.TRANSFORMS} has endless views.")
        make = loaders.train if countable else loaders.augmented
        self.train_loader_x = make(dataset.train_x, training, self.train_plan)
        self.train_loader_u = None
        self.val_loader = loaders.evaluation(dataset.val, fixed, "val") if dataset.val else None
        self.test_loader = loaders.evaluation(dataset.test, fixed, "test")

    def parse_batch_train(self, batch: dict[str, Any]) -> tuple[Views, Tensor]:
        """Views and targets [B, C] of a batch, on the device; images are encoded if need be."""
        views = batch.get("views")
        if views is None:
            with torch.no_grad():
                views = self.encode_images(batch["img"].to(self.device, non_blocking=True))
        return views, batch["label"].to(self.device, non_blocking=True)

    parse_batch_test = parse_batch_train

    def encode_images(self, images: Tensor) -> Views:
        """Views of images [B, 3, H, W] on the device, in the run's precision."""
        with self.precision.autocast():
            return self.image_encoder(images)

    # --- Model and step ---------------------------------------------------------------------

    def build_model(self) -> None:
        """Frozen towers, the learner, its optimiser, the loss."""
        cfg = self.cfg
        name, precision = cfg.MODEL.BACKBONE.NAME, self.method_cfg.PREC
        print(f"Loading CLIP (backbone: {name}, precision: {precision})")
        self.precision = Precision(precision, self.device)
        self.clip = load_clip(name, precision, self.device)
        side = input_resolution(self.clip)
        if tuple(cfg.INPUT.SIZE) != (side, side):
            raise ValueError(
                f"{name} takes pictures of {side} x {side} pixels, INPUT.SIZE is "
                f'{tuple(cfg.INPUT.SIZE)}. Add: INPUT.SIZE "({side}, {side})"'
            )
        self.image_encoder, self.text_encoder = ImageEncoder(self.clip), TextEncoder(self.clip)
        self.affine = LogitAffine(
            self.clip.logit_scale.exp().item(),
            self.method_cfg.get("LOGIT_SCALE", "clip"),
            self.method_cfg.get("LOGIT_BIAS", "off"),
        ).to(self.device)
        self.prompt_learner = self.build_learner()
        if self.prompt_learner is None:
            return
        self.prompt_learner.add_module("affine", self.affine)  # trained and saved with it
        self.prompt_learner.to(self.device)
        if cfg.MODEL.INIT_WEIGHTS:
            load_pretrained_weights(self.prompt_learner, cfg.MODEL.INIT_WEIGHTS)
        counts = torch.as_tensor(self.dm.dataset.class_counts, device=self.device)
        self.criterion = loss_from_config(cfg.TRAINER.LOSS, counts, len(self.dm.dataset.train_x))
        self.set_optimiser(self.prompt_learner)

    def caption_source(self) -> CaptionSource:
        """The training images' texts, as INPUT.CAPTION* say, on the device."""
        dataset, options = self.dm.dataset, self.cfg.INPUT
        return CaptionSource(
            dataset.captions,
            torch.stack([torch.as_tensor(item.label) for item in dataset.train_x]),
            self.classnames,
            options.CAPTIONS,
            options.CAPTION_TRUNC,
            options.CAPTION_PICK,
            options.CAPTION_MISSING,
            self.seed,
        ).to(self.device)

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, float]:
        """One step on one batch; returns its loss terms."""
        views, targets = self.parse_batch_train(batch)
        with self.precision.autocast():
            text_features = self.text_features()
        batch["text_features"] = text_features
        terms = self.compute_loss(self.compute_logits(views, text_features), targets, batch)
        self.model_backward_and_update(terms["loss"])
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return {name: term.item() for name, term in terms.items()}

    def model_backward(self, loss: Tensor) -> None:
        """Dassl's backward pass, with the loss scaled where fp16 gradients would underflow."""
        super().model_backward(self.precision.scaler.scale(loss))

    def model_update(self, names: list[str] | None = None) -> None:
        """Dassl's optimiser step, through the gradient scaler."""
        scaler = self.precision.scaler
        if not scaler.is_enabled():
            super().model_update(names)
            return
        for name in self.get_model_names(names):
            scaler.step(self._optims[name])
        scaler.update()

    def model_inference(self, views: Views) -> Tensor:
        """Logits [B, C]; text features are computed once for each evaluation."""
        if self._text_features_once is None:
            with self.precision.autocast():
                self._text_features_once = self.text_features()
        return self.compute_logits(views, self._text_features_once)

    def set_model_mode(self, mode: str = "train", names: list[str] | None = None) -> None:
        """Dassl's switch; the contexts may have changed since the last evaluation."""
        self._text_features_once = None
        super().set_model_mode(mode, names)

    def before_train(self) -> None:
        """Centre the logits if they are to be, unless a resumed run brings its own centre."""
        if self.affine.waits_for_mean:
            self.affine.centre(self._mean_cosine())
        super().before_train()
        if isinstance(self.train_loader_x, CachedLoader):
            _ = self.train_loader_x.cache  # made now, with all threads

    def run_epoch(self) -> None:
        """Dassl's loop over the batches, on as many threads as the model is worth."""
        with threads(step_threads(self.clip, self.device)):
            super().run_epoch()

    @torch.no_grad()
    def _mean_cosine(self) -> Tensor:
        """Mean over the first batches of images and all classes: a scalar."""
        text_features = self.text_features()
        batches = islice(self.train_loader_x, _BATCHES_OF_MEAN)
        images = torch.cat([self.parse_batch_train(b)[0].global_features for b in batches])
        return (images @ text_features.t()).mean()

    def before_epoch(self) -> None:
        """Draw this epoch's order and views."""
        self.train_plan.epoch = self.epoch
