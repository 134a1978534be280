"""What every prompt method shares: frozen CLIP, views, training step, checkpoints, results."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from dassl.data import DataManager
from dassl.data.transforms import build_transform
from dassl.engine import TrainerX
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import load_checkpoint, load_pretrained_weights, read_image
from torch import Tensor, nn
from yacs.config import CfgNode

from evaluation.reports import save_scores, write_results
from losses import build_loss
from modeling import checkpoint_files
from modeling.clip_loader import input_resolution, load_clip
from modeling.data_path import EpochPlan
from modeling.image_encoder import ImageEncoder
from modeling.loaders import ViewLoaders
from modeling.precision import Precision
from modeling.prompt_learner import PromptLearner
from modeling.text_encoder import TextEncoder
from modeling.transforms import fixed_transform
from modeling.views import Views

LEARNER = "prompt_learner"  # the checkpoints' folder, as in CoOp
_LOSS_FAMILIES = {  # loss to the node of TRAINER.LOSS that holds its options
    "asl": "ASL",
    "focal": "FOCAL",
    "ranking": "RANKING",
    **dict.fromkeys(("db", "db_no_focal", "r_bce_focal", "ntr_focal"), "DB"),
    **dict.fromkeys(("cb_focal", "cb_ntr"), "CB"),
}
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

    loss = cfg.TRAINER.LOSS = CfgNode()
    loss.NAME = "db"  # one of losses.LOSSES; the nodes below hold the options of its family
    loss.ASL = CfgNode({"GAMMA_NEG": 4.0, "GAMMA_POS": 0.0, "CLIP": 0.05})
    loss.FOCAL = CfgNode({"ALPHA": 0.5, "GAMMA": 2.0})
    loss.DB = CfgNode()
    loss.DB.VARIANT = "official"  # paper | official | lmpt, see losses/distribution_balanced.py
    loss.DB.ALPHA = 0.1  # lift of the re-balancing weights
    loss.DB.BETA = 10.0  # their steepness
    loss.DB.MU = 0.3  # their centre: 0.3 VOC-LT, 0.2 COCO-LT
    loss.DB.NEG_SCALE = 5.0  # lambda of negative tolerance: 5 VOC-LT, 2 COCO-LT
    loss.DB.INIT_BIAS = 0.05  # kappa, size of the class bias
    loss.DB.FOCAL_GAMMA = 2.0
    loss.CB = CfgNode()
    loss.CB.MODE = "by_class"  # by_class | average_n | average_w | min_n
    loss.CB.BETA = 0.9
    loss.CB.ALPHA = 0.5
    loss.CB.GAMMA = 2.0
    loss.CB.NEG_SCALE = 2.0  # this and the next: cb_ntr alone
    loss.CB.INIT_BIAS = 0.05
    loss.RANKING = CfgNode({"MARGIN": 1.0})  # in logits


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
    }
    return CfgNode({**options, **changes})


class PromptTrainer(TrainerX):
    """A Dassl trainer around a frozen CLIP.

    A method overrides some of `build_learner`, `text_features`, `compute_logits` and `compute_loss`
    and declares its keys under `TRAINER.<CLASS NAME IN CAPITALS>`, `method_cfg` here.
    """

    def __init__(self, cfg: CfgNode) -> None:
        self.method_cfg = cfg.TRAINER[type(self).__name__.upper()]
        self.seed = max(cfg.SEED, 0)
        self.weights_epoch = 0  # epochs of training behind the current weights
        self._text_features_once: Tensor | None = None
        self._resume_point: Path | None = None
        super().__init__(cfg)
        if hasattr(self.evaluator, "describe_classes"):
            self.evaluator.describe_classes(self.dm.dataset.class_counts, self.dm.dataset.groups)

    # --- What a method may change -----------------------------------------------------------

    def build_learner(self) -> nn.Module | None:
        """The trainable part; None for a method that trains nothing."""
        options = self.method_cfg
        return PromptLearner(
            self.classnames,
            self.clip,
            n_ctx=options.N_CTX,
            csc=options.CSC,
            ctx_init=options.CTX_INIT,
            position=options.CLASS_TOKEN_POSITION,
            generator=torch.Generator().manual_seed(self.seed),
        )

    def text_features(self) -> Tensor:
        """One L2-normalised feature for each class: [C, D]."""
        return self.text_encoder(self.prompt_learner(), self.prompt_learner.eot)

    def compute_logits(self, views: Views, text_features: Tensor) -> Tensor:
        """Logits [B, C] from B views and text features [C, D]: CLIP's scaled cosine."""
        return self.logit_scale * views.global_features @ text_features.t()

    def compute_loss(
        self, logits: Tensor, targets: Tensor, batch: dict[str, Any]
    ) -> dict[str, Tensor]:
        """Loss terms for the log; the one called "loss" is minimised.

        Args:
            logits: [B, C] of `compute_logits`, fp32.
            targets: [B, C], 1 present, 0 absent, -1 unknown.
            batch: has `index` [B], the images' places in the training list.
        """
        return {"loss": self.criterion(logits, targets)}

    # --- Data -------------------------------------------------------------------------------

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse values that would fail late or be ignored."""
        if cfg.DATALOADER.CACHE not in ("auto", "off"):
            raise ValueError(f"DATALOADER.CACHE must be auto or off, got {cfg.DATALOADER.CACHE!r}.")
        if cfg.INPUT.NO_TRANSFORM:
            raise ValueError("INPUT.NO_TRANSFORM True leaves no tensors to encode; set it False.")

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
        countable = set(cfg.INPUT.TRANSFORMS) <= {"random_flip", "normalize"}
        training = fixed if countable else build_transform(cfg, is_train=True)
        self.dm = DataManager(cfg, custom_tfm_train=training, custom_tfm_test=fixed)
        self.num_classes, self.lab2cname = self.dm.num_classes, self.dm.lab2cname
        self.num_source_domains = self.dm.num_source_domains
        dataset = self.dm.dataset
        self.classnames = dataset.classnames

        loaders = ViewLoaders(
            encode=self.encode_images,
            read=read_image,
            device=self.device,
            workers=cfg.DATALOADER.NUM_WORKERS,
            encode_batch=cfg.DATALOADER.TEST.BATCH_SIZE,
            cached=cfg.DATALOADER.CACHE == "auto",
        )
        flip = _FLIP if countable and "random_flip" in cfg.INPUT.TRANSFORMS else 0.0
        batch_size = cfg.DATALOADER.TRAIN_X.BATCH_SIZE
        self.train_plan = EpochPlan(len(dataset.train_x), batch_size, self.seed, flip)
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
        self.logit_scale = self.clip.logit_scale.exp().float()  # a scalar
        self.prompt_learner = self.build_learner()
        if self.prompt_learner is None:
            return
        self.prompt_learner.to(self.device)
        if cfg.MODEL.INIT_WEIGHTS:
            load_pretrained_weights(self.prompt_learner, cfg.MODEL.INIT_WEIGHTS)
        self.criterion = self._build_criterion()
        self.optim = build_optimizer(self.prompt_learner, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model(LEARNER, self.prompt_learner, self.optim, self.sched)

    def _build_criterion(self) -> Callable[[Tensor, Tensor], Tensor]:
        dataset, node = self.dm.dataset, self.cfg.TRAINER.LOSS
        counts = torch.as_tensor(dataset.class_counts, device=self.device)
        family = _LOSS_FAMILIES.get(node.NAME)
        options = {key.lower(): value for key, value in node[family].items()} if family else {}
        return build_loss(node.NAME, counts, len(dataset.train_x), **options)

    def forward_backward(self, batch: dict[str, Any]) -> dict[str, float]:
        """One step on one batch; returns its loss terms."""
        views, targets = self.parse_batch_train(batch)
        with self.precision.autocast():
            text_features = self.text_features()
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

    # --- Epochs, checkpoints, results -------------------------------------------------------

    def train(self) -> None:
        """Dassl's training; a method without a learner goes straight to its test."""
        if self.prompt_learner is None:
            print(f"{self.cfg.TRAINER.NAME} trains nothing.")
            self.test()
        else:
            super().train()

    def before_train(self) -> None:
        """Resume if there is something to resume."""
        super().before_train()
        self.weights_epoch = self.start_epoch

    def before_epoch(self) -> None:
        """Draw this epoch's order and views."""
        self.train_plan.epoch = self.epoch

    def after_epoch(self) -> None:
        """Dassl's checkpoints, and one of every other epoch to resume from, the newest kept."""
        self.weights_epoch = done = self.epoch + 1
        super().after_epoch()
        every = self.cfg.TRAIN.CHECKPOINT_FREQ
        previous, self._resume_point = self._resume_point, None
        if done < self.max_epoch and not (every > 0 and done % every == 0):
            with contextlib.redirect_stdout(io.StringIO()):  # a line each epoch would drown the log
                self.save_model(self.epoch, self.output_dir)
            self._resume_point = checkpoint_files.epochs(Path(self.output_dir, LEARNER))[done]
        if previous is not None:
            previous.unlink(missing_ok=True)

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load trained contexts for evaluation.

        Args:
            directory: output directory of a training run.
            epoch: which checkpoint; None takes model-best, or else the newest.

        Raises:
            FileNotFoundError: there is no such checkpoint; the message lists those that are.
        """
        if not directory:
            print("No --model-dir given: evaluating untrained contexts.")
            return
        path = checkpoint_files.find(Path(directory, LEARNER), epoch)
        checkpoint = load_checkpoint(str(path))
        # CoOp stores the class names' embeddings too; ours come from the class names at hand.
        contexts = {
            name: value
            for name, value in checkpoint["state_dict"].items()
            if name not in ("token_prefix", "token_suffix")
        }
        self.prompt_learner.load_state_dict(contexts)
        self.weights_epoch = int(checkpoint["epoch"])
        print(f"Loaded contexts of epoch {self.weights_epoch} from {path}")

    def test(self, split: str | None = None) -> float:
        """Evaluate; the final evaluation (`split` None) also writes results.json.

        Returns:
            The evaluator's first metric, mAP in percent.
        """
        value = super().test(split)
        if split is None:
            self._write_results()
        return value

    def _write_results(self) -> None:
        cfg = self.cfg
        folder = Path(self.output_dir)
        split = cfg.TEST.SPLIT if self.val_loader is not None else "test"
        write_results(
            folder / "results.json",
            trainer=cfg.TRAINER.NAME,
            dataset=cfg.DATASET.NAME,
            backbone=cfg.MODEL.BACKBONE.NAME,
            seed=cfg.SEED,
            split=split,
            epoch=self.weights_epoch,
            selection=cfg.TEST.FINAL_MODEL,
            evaluator=self.evaluator,
            config_text=cfg.dump(),
        )
        if cfg.TEST.SAVE_SCORES:
            paths = [item.impath for item in getattr(self.dm.dataset, split)]
            evaluator = self.evaluator
            save_scores(folder / "scores.npz", evaluator.logits, evaluator.targets, paths)
        print(f"Results written to {folder / 'results.json'}")
