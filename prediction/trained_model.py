"""A model read from a run's folder, or zero-shot CLIP of class names: no data set, no training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from dassl.engine import TRAINER_REGISTRY
from dassl.utils import load_checkpoint
from torch import Tensor
from yacs.config import CfgNode

from command_line import build_parser
from configuration import build_cfg
from evaluation.fitted.fitted_files import ScoredModel
from evaluation.metrics.threshold_metrics import probabilities
from loading.transforms import evaluation_transform
from modeling.encoders.features import Features
from modeling.prompts.prompt_model import PromptModel
from trainers.base import PromptTrainer
from trainers.base.build_model import build_model
from trainers.base.chosen_thresholds import scored_model
from trainers.base.options import own_options
from trainers.base.saving.checkpoints import Checkpoints, how_chosen, load_into
from trainers.base.saving.conditions import read_classes
from trainers.base.saving.run_record import origin_of
from trainers.base.towers import load_towers


@dataclass
class TrainedModel:
    """A model that scores pictures, with all that its scores depend on.

    Attributes:
        cfg: the run's config.
        model: on its device.
        transform: PIL image to tensor [3, H, W], as in the run's evaluation.
        name: for tables and plots.
        folder: the run's; None for zero-shot CLIP without one.
        epoch: epochs of training behind the weights.
        selection: the rule by which that epoch was chosen.
        clip_digest: SHA-256 of CLIP's weights.
    """

    cfg: CfgNode
    model: PromptModel
    transform: Callable[[Any], Tensor]
    name: str
    folder: Path | None
    epoch: int
    selection: str
    clip_digest: str

    @property
    def classnames(self) -> list[str]:
        """C names, in the order of the scores' columns."""
        return self.model.classnames

    @property
    def tunes_image_encoder(self) -> bool:
        """Whether the run has changed CLIP's image tower."""
        return TRAINER_REGISTRY.get(self.cfg.TRAINER.NAME).tunes(self.cfg)

    @cached_property
    def scored(self) -> ScoredModel:
        """What its scores depend on, which thresholds and calibrations are compared with."""
        return scored_model(self.cfg, self.model, self.epoch, self.clip_digest)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.clip.device

    @cached_property
    def text(self) -> Any:  # noqa: ANN401 - whatever the method's cosines need
        """`PromptModel.text_features`, computed once."""
        with torch.inference_mode():
            return self.model.autocast_text_features()

    def features(self, images: Tensor) -> Features:
        """Features of preprocessed images [B, 3, H, W]."""
        with torch.inference_mode():
            images = images.to(self.device, non_blocking=True)
            return self.model.clip.encode_test_images(images)

    def logits(self, images: Tensor) -> Tensor:
        """Logits [B, C], fp32, of preprocessed images [B, 3, H, W]."""
        with torch.inference_mode():
            return self.logits_of(self.features(images))

    def logits_of(self, features: Features) -> Tensor:
        """Logits [B, C], fp32, of features that this model's `features`, or its equal, made."""
        with torch.inference_mode():
            return self.model.mean_logits(features, self.text).float()

    def scores(self, logits: Tensor) -> Tensor:
        """Probabilities [B, C] that TEST.THRESHOLD is compared with, of logits [B, C]."""
        return probabilities(logits, softmax=self.cfg.TEST.SCORE == "softmax")


def load_run(
    folder: str | Path,
    epoch: int | None = None,
    words: Sequence[str] = (),
    classnames: Sequence[str] | None = None,
) -> TrainedModel:
    """Read a trained model from the folder of its run.

    Args:
        folder: as given to train.py as --output-dir.
        epoch: of the checkpoint; by default the best one, or else the last.
        words: flags and overrides as of train.py, such as ["TEST.SCORE", "sigmoid"].
        classnames: others than the run's, for contexts that all classes share.

    Returns:
        The model, in evaluation mode, on the GPU if there is one.

    Raises:
        FileNotFoundError: the folder, its config or its checkpoint is not there.
        ValueError: what the folder holds is damaged, is no run of a method of this project, or does
            not fit the class names.
    """
    folder = Path(folder)
    if not (folder / "config.yaml").is_file():
        raise FileNotFoundError(
            f"{folder} holds no config.yaml, which every run leaves in its output folder. "
            "Give the folder that train.py was given as --output-dir."
        )
    cfg = config_of(["--eval-only", "--model-dir", str(folder), *words])
    trainer = TRAINER_REGISTRY.get(cfg.TRAINER.NAME)
    if not issubclass(trainer, PromptTrainer):
        raise ValueError(
            f"{folder} is a run of {cfg.TRAINER.NAME}, which is not built on this project's "
            "PromptTrainer; train.py --eval-only evaluates it."
        )
    learns = trainer.model_class.trains
    path = Checkpoints(folder, trainer.learner_name).find(epoch) if learns else None
    checkpoint = load_checkpoint(str(path)) if path else {}
    own = checkpoint.get("run", {}).get("classnames") or read_classes(folder)
    built = _build(cfg, trainer, classnames or own, _run_name(folder), folder)
    if path:
        options = own_options(cfg, cfg.TRAINER.NAME)
        here = origin_of(cfg, options, built.clip_digest, built.classnames, is_class_specific(cfg))
        load_into(built.model.learner, path, checkpoint, here)
        built.epoch, built.selection = int(checkpoint["epoch"]), how_chosen(path, checkpoint)
    return built


def zero_shot(
    classnames: Sequence[str], backbone: str = "tiny", words: Sequence[str] = ()
) -> TrainedModel:
    """Zero-shot CLIP for any class names, without a run.

    Args:
        classnames: C names.
        backbone: as of train.py's --backbone.
        words: flags and overrides as of train.py.

    Raises:
        ValueError: no class name is given, one is given twice, or there is no such backbone.
    """
    names = list(classnames)
    if not names or len({*names}) < len(names):
        raise ValueError(f"Class names must be different ones, at least one; got {names}.")
    cfg = config_of(["--trainer", "ZeroshotCLIP", "--backbone", backbone, *words])
    return _build(cfg, TRAINER_REGISTRY.get("ZeroshotCLIP"), names, "ZeroshotCLIP", None)


def config_of(words: Sequence[str]) -> CfgNode:
    """The config of a train.py command line."""
    cfg = build_cfg(build_parser().parse_intermixed_args(list(words)))
    cfg.freeze()
    return cfg


def is_class_specific(cfg: CfgNode) -> bool:
    """Whether a config's method trains a part of its own for each class."""
    trainer = TRAINER_REGISTRY.get(cfg.TRAINER.NAME)
    return trainer.class_specific or bool(own_options(cfg, cfg.TRAINER.NAME).get("CSC", False))


def _build(
    cfg: CfgNode,
    trainer: type[PromptTrainer],
    classnames: Sequence[str],
    name: str,
    folder: Path | None,
) -> TrainedModel:
    on_gpu = torch.cuda.is_available() and cfg.USE_CUDA
    options = own_options(cfg, cfg.TRAINER.NAME)
    device = torch.device("cuda" if on_gpu else "cpu")
    clip, digest = load_towers(cfg, trainer.model_class, options, device, trainer.tunes(cfg))
    model = build_model(cfg, trainer.model_class, options, classnames, clip).eval()
    transform = evaluation_transform(cfg)
    return TrainedModel(cfg, model, transform, name, folder, 0, "last_step", digest)


def _run_name(folder: Path) -> str:
    """The last parts of a run's folder, without the layout's own: "LMPT/tiny/seed1"."""
    return "/".join(folder.resolve().parts[-3:])
