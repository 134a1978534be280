"""What every method shares: a frozen CLIP, views of its samples, one training step."""

from __future__ import annotations

from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from yacs.config import CfgNode

from common.config_rules import Choice, declare_rules
from common.threads import step_threads, threads
from loading.cache.feature_cache import CachedLoader
from loading.text_loader import TextLoader
from losses.config import loss_from_config
from modeling.clip.loader import load_clip
from modeling.clip.precision import Precision
from modeling.encoders.dense_image_encoder import VIT_REGIONS, DenseImageEncoder
from modeling.encoders.features import Views
from modeling.encoders.image_encoder import ImageEncoder
from modeling.encoders.region_pooling import region_pool
from modeling.encoders.text_encoder import TextEncoder
from modeling.prompts.logit_scale import LogitAffine
from modeling.prompts.prompt_learner import PromptLearner
from trainers.base.batches import Batches
from trainers.base.captured_step import CapturedStep
from trainers.base.contract import check_terms, own_options
from trainers.base.initial_weights import load_initial_weights

_BATCHES_OF_MEAN = 8  # training batches that LOGIT_BIAS is measured on
_VIEWS = ("global_features", "local_features", "mask")
_PLACES = ("index", "draw")


def extend_cfg(cfg: CfgNode) -> None:
    """Declare the keys of the towers and of the training step."""
    cfg.MODEL.BACKBONE.NAME = "tiny"  # a CLIP name or the path of a weight file
    # How regions are read from an image tower, by the methods that look at regions.
    cfg.MODEL.DENSE = CfgNode(
        {
            "POS_EMBED": False,  # ResNet: add the attention pool's positions
            "MEAN_TOKEN": False,  # ResNet: the mean of the regions is one more region
            "VIT": "value",  # value (the last block's value path) | last (its plain output)
        }
    )
    cfg.TRAIN.CUDA_GRAPH = True  # replay the step as one CUDA graph, on a GPU


declare_rules("MODEL.DENSE", {"VIT": Choice(VIT_REGIONS)})


class PromptTrainer(Batches):
    """A Dassl trainer around a frozen CLIP.

    A method overrides some of `build_learner`, `text_features`, `cosines`, `compute_logits` and
    `compute_loss`, and declares its keys, `method_cfg`, under `TRAINER.<CLASS NAME IN CAPITALS>`.

    Attributes:
        roles: of the contexts, one set of them each; see `PromptLearner`.
    """

    roles: tuple[str, ...] = ("ctx",)

    def __init__(self, cfg: CfgNode) -> None:
        self.method_cfg = own_options(cfg, type(self).__name__)
        self.seed = max(cfg.SEED, 0)
        self._text_features_once: Any = None
        super().__init__(cfg)
        dataset = self.dm.dataset
        if hasattr(self.evaluator, "describe_classes") and hasattr(dataset, "groups"):
            self.evaluator.describe_classes(dataset.class_counts, dataset.groups)

    # --- What a method may change -----------------------------------------------------------

    def build_image_encoder(self) -> nn.Module:
        """The image tower: global features, and regions where the method looks at them."""
        if self.method_cfg.get("REGION_WEIGHT", 0.0) > 0:
            return self.dense_image_encoder()
        return ImageEncoder(self.clip)

    def build_learner(self) -> nn.Module | None:
        """The trainable part; None for a method that trains nothing."""
        options = self.method_cfg
        learner = PromptLearner(
            self.classnames,
            self.clip,
            self.roles,
            options.N_CTX,
            options.CSC,
            options.CTX_INIT,
            options.CLASS_TOKEN_POSITION,
            torch.Generator().manual_seed(self.seed),
        )
        if learner.n_ctx != options.N_CTX:
            print(f"CTX_INIT has {learner.n_ctx} tokens; N_CTX {options.N_CTX} is not used.")
        return learner

    def text_features(self) -> Any:  # noqa: ANN401 - whatever the method's logits need
        """One L2-normalised feature for each class: [C, D]. Made once for an evaluation."""
        learner = self.prompt_learner
        return self.text_encoder(learner(), learner.eot, learner.shared_prefix)

    def cosines(self, views: Views, text_features: Any) -> Tensor:  # noqa: ANN401
        """Similarity [B, C] of B views and the classes, in [-1, 1].

        With REGION_WEIGHT w it is (1 - w) * global + w * regions, where each class pools the
        regions by a softmax over its own similarities (dense zero-shot CLIP of TaI-DPT, Guo et
        al., CVPR 2023).
        """
        cosines = views.global_features @ text_features.t()  # [B, C]
        weight = self.method_cfg.get("REGION_WEIGHT", 0.0)
        if weight == 0:
            return cosines
        regions = views.local_features @ text_features.t()  # [B, R, C]
        pooled = region_pool(regions, regions, self.method_cfg.REGION_SCALE, views.mask)  # [B, C]
        return cosines.lerp(pooled, weight)

    def compute_logits(self, views: Views, text_features: Any) -> Tensor:  # noqa: ANN401
        """Logits [B, C], fp32: scaled cosines."""
        return self.affine(self.cosines(views, text_features))

    def compute_loss(
        self, logits: Tensor, targets: Tensor, batch: dict[str, Any]
    ) -> dict[str, Tensor]:
        """Loss terms for the log; the one called "loss" is minimised.

        Args:
            logits: [B, C] of `compute_logits`, fp32.
            targets: [B, C], 1 present, 0 absent, -1 unknown.
            batch: has `views`, `text_features`, `index` [B], places in the training list, and
                `draw` [B], random numbers of this epoch; all on the device.
        """
        return {"loss": self.criterion(logits, targets)}

    def param_groups(self, learner: nn.Module) -> list[dict[str, Any]] | None:
        """Groups for the optimiser, with rates of their own; None: all at OPTIM.LR."""
        return None

    # --- Model ------------------------------------------------------------------------------

    def build_model(self) -> None:
        """Frozen towers, the learner, its optimiser, the loss."""
        cfg = self.cfg
        name, precision = cfg.MODEL.BACKBONE.NAME, self.method_cfg.PREC
        print(f"Loading CLIP (backbone: {name}, precision: {precision})")
        self.precision = Precision(precision, self.device)
        self.clip = load_clip(name, precision, self.device)
        self.image_encoder, self.text_encoder = self.build_image_encoder(), TextEncoder(self.clip)
        self.image_encoder.check_input_size(*cfg.INPUT.SIZE)
        self.affine = LogitAffine(
            self.method_cfg.get("LOGIT_SCALE", 0.0) or self.clip.logit_scale.exp().item(),
            self.method_cfg.get("LOGIT_SCALE_LEARNABLE", False),
            self.method_cfg.get("LOGIT_BIAS", "off"),
        ).to(self.device)
        self.prompt_learner = learner = self.build_learner()
        if learner is None:
            return
        learner.add_module("affine", self.affine)  # trained and saved with it
        learner.to(self.device)
        if cfg.MODEL.INIT_WEIGHTS:
            load_initial_weights(learner, cfg.MODEL.INIT_WEIGHTS)
        counts = (self.train_targets == 1).sum(dim=0).to(self.device)  # [C]
        self.criterion = loss_from_config(cfg.TRAINER.LOSS, counts, len(self.train_targets))
        self.set_optimiser(learner, self.param_groups(learner))
        self._captured: CapturedStep | None = None
        if self.device.type == "cuda" and cfg.TRAIN.CUDA_GRAPH and not self.encoder_trains:
            trained = [p for p in learner.parameters() if p.requires_grad]
            self._captured = CapturedStep(self._gradients, trained)

    def dense_image_encoder(self) -> DenseImageEncoder:
        """An image tower that gives regions too, as MODEL.DENSE says."""
        dense = self.cfg.MODEL.DENSE
        return DenseImageEncoder(self.clip, dense.POS_EMBED, dense.MEAN_TOKEN, dense.VIT)

    def add_region_scale(self, learner: nn.Module) -> None:
        """The steepness of the weights of regions, as REGION_SCALE says; it may be learnt."""
        options = self.method_cfg
        learnable = options.get("REGION_SCALE_LEARNABLE", False)
        self.region_scale = LogitAffine(options.REGION_SCALE, learnable, key="REGION_SCALE")
        learner.add_module("region_scale", self.region_scale)  # trained and saved with it

    @property
    def looks_at_regions(self) -> bool:
        """Whether images (and captions in their place) come with local features."""
        return isinstance(self.image_encoder, DenseImageEncoder)

    def encode_images(self, images: Tensor) -> Views:
        """Views of images [B, 3, H, W] on the device, in the run's precision."""
        with self.precision.autocast():
            return self.image_encoder(images)

    def encode_texts(self, tokens: Tensor) -> Views:
        """Views of captions in the place of images: token ids [B, 77] on the device."""
        views = self.text_encoder.encode_views(tokens)
        return views if self.looks_at_regions else Views(views.global_features)

    # --- Step -------------------------------------------------------------------------------

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """One step on one batch; returns its loss terms, on the device."""
        inputs = self._inputs(batch)
        if self._captured is None:
            self.model_zero_grad()
            terms = self._gradients(inputs)
        else:
            terms = self._captured(inputs)
        self.model_update()
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return terms

    def _inputs(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """What a step depends on, as tensors on the device."""
        views, targets = self.parse_batch_train(batch)
        inputs = {name: getattr(views, name) for name in _VIEWS if getattr(views, name) is not None}
        places = {name: batch[name].to(self.device, non_blocking=True) for name in _PLACES}
        return {**inputs, **places, "targets": targets}

    def _gradients(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss terms of a batch; gradients go to the parameters. Reads nothing from the device."""
        views = Views(*(inputs.get(name) for name in _VIEWS))
        with self.precision.autocast():
            text_features = self.text_features()
        batch = {"views": views, "text_features": text_features}
        batch.update({name: inputs[name] for name in _PLACES})
        logits = self.compute_logits(views, text_features)
        terms = self.compute_loss(logits, inputs["targets"], batch)
        check_terms(type(self).__name__, terms)
        self.precision.scaler.scale(terms["loss"]).backward()
        return {name: term.detach() for name, term in terms.items()}

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
        if isinstance(self.train_loader_x, (CachedLoader, TextLoader)):
            _ = self.train_loader_x.cache  # made now, with all threads

    def run_epoch(self) -> None:
        """The epoch's steps, on as many threads as the model is worth."""
        with threads(step_threads(self.clip, self.device)):
            super().run_epoch()

    def test(self, split: str | None = None) -> float:
        """The evaluation, on as many threads as the model is worth."""
        with threads(step_threads(self.clip, self.device)):
            return super().test(split)

    @torch.no_grad()
    def _mean_cosine(self) -> Tensor:
        """Mean over the first batches of images and all classes: a scalar."""
        text_features = self.text_features()
        batches = islice(self.train_loader_x, _BATCHES_OF_MEAN)
        cosines = [self.cosines(self._views(batch), text_features) for batch in batches]
        return torch.cat(cosines).mean()
