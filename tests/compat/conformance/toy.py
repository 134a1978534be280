"""A data set of coloured squares and a linear trainer, small enough to train in milliseconds."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.engine import TRAINER_REGISTRY, TrainerX, TrainerXU, build_trainer
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import set_random_seed
from PIL import Image
from torch import nn
from torch.nn import functional as F
from yacs.config import CfgNode

IN_ORDER = ["DATALOADER.TRAIN_X.SAMPLER", "SequentialSampler", "INPUT.TRANSFORMS", ("normalize",)]
COLOURS = {"red": (220, 30, 30), "green": (30, 220, 30), "blue": (30, 30, 220)}


def write_images(root: Path, per_class: int = 4) -> list[tuple[str, int, str]]:
    """Noisy squares of each colour, as (path, label, class name)."""
    rng = np.random.default_rng(0)
    items = []
    for label, (name, colour) in enumerate(COLOURS.items()):
        for number in range(per_class):
            path = root / f"{name}_{number}.png"
            if not path.exists():
                pixels = np.clip(colour + rng.normal(0, 40, (10, 12, 3)), 0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(path)
            items.append((str(path), label, name))
    return items


@DATASET_REGISTRY.register()
class ConformanceColours(DatasetBase):
    """Twelve images; the same for training, validation and test."""

    def __init__(self, cfg: CfgNode) -> None:
        items = [
            Datum(path, label, domain=number % 2, classname=name)
            for number, (path, label, name) in enumerate(write_images(Path(cfg.DATASET.ROOT)))
        ]
        unlabelled = items[:5] if "unlabelled" in cfg.DATASET.SOURCE_DOMAINS else None
        super().__init__(train_x=items, train_u=unlabelled, val=items[::2], test=items)


class Linear:
    """The parts of the toy trainers that do not depend on the kind of data."""

    def build_model(self) -> None:
        """A linear classifier of the pixels, under the name "linear"."""
        height, width = self.cfg.INPUT.SIZE
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(3 * height * width, self.num_classes))
        self.optim = build_optimizer(self.model, self.cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, self.cfg.OPTIM)
        self.register_model("linear", self.model, self.optim, self.sched)
        self.seen: list[list[int]] = []  # data-set indices of each batch
        self.rates: list[float] = []  # learning rate of each epoch

    def step(self, batch: dict) -> dict[str, torch.Tensor]:
        """One update; the schedule moves on after the last batch of an epoch."""
        self.seen.append(batch["index"].tolist())
        if self.batch_idx == 0:
            self.rates.append(self.get_current_lr())
        loss = F.cross_entropy(self.model(batch["img"]), batch["label"])
        self.model_backward_and_update(loss)
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return {"loss": loss}


@TRAINER_REGISTRY.register()
class ConformanceLinear(Linear, TrainerX):
    """Labelled data only."""

    def forward_backward(self, batch: dict) -> dict[str, torch.Tensor]:
        """One step."""
        return self.step(batch)


@TRAINER_REGISTRY.register()
class ConformanceLinearXU(Linear, TrainerXU):
    """Labelled and unlabelled data."""

    def forward_backward(self, batch_x: dict, batch_u: dict) -> dict[str, torch.Tensor]:
        """One step, on the labelled batch; the unlabelled one is noted."""
        self.unlabelled = [*getattr(self, "unlabelled", []), batch_u["index"].tolist()]
        return self.step(batch_x)


def toy_cfg(tmp_path: Path, *options: object) -> CfgNode:
    """Config of a short run: 4 epochs of 2 batches.

    Args:
        tmp_path: Gets the images and the output.
        options: KEY, VALUE, ... overrides.
    """
    images = tmp_path / "images"
    images.mkdir(exist_ok=True)
    cfg = get_cfg_default()
    cfg.merge_from_list(
        ["DATASET.ROOT", str(images), "DATASET.NAME", "ConformanceColours"]
        + ["OUTPUT_DIR", str(tmp_path / "output"), "TRAINER.NAME", "ConformanceLinear"]
        + ["INPUT.SIZE", (8, 8), "INPUT.TRANSFORMS", ("random_flip", "normalize")]
        + ["DATALOADER.NUM_WORKERS", 0, "DATALOADER.TRAIN_X.BATCH_SIZE", 6]
        + ["OPTIM.NAME", "sgd", "OPTIM.LR", 0.02, "OPTIM.MAX_EPOCH", 4]
        + ["OPTIM.LR_SCHEDULER", "cosine", "OPTIM.WARMUP_EPOCH", 1]
        + ["OPTIM.WARMUP_TYPE", "constant", "USE_CUDA", False, "VERBOSE", False]
    )
    cfg.merge_from_list(list(options))
    return cfg


def toy_trainer(tmp_path: Path, *options: object, seed: int = 1) -> Linear:
    """The trainer of `toy_cfg`, seeded."""
    set_random_seed(seed)
    return build_trainer(toy_cfg(tmp_path, *options))


def weights(trainer: Linear) -> list[torch.Tensor]:
    """A copy of the weights."""
    return [parameter.detach().clone() for parameter in trainer.model.parameters()]


def random_state() -> tuple:
    """One draw from each generator."""
    return random.random(), np.random.rand(), torch.rand(1).item()
