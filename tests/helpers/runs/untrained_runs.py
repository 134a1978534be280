"""Models as a run leaves them, with random contexts: what needs no training needs no run."""

from __future__ import annotations

from pathlib import Path

import torch
from dassl.engine import TRAINER_REGISTRY
from PIL import Image

from loading.images import read_picture
from loading.transforms import evaluation_transform
from prediction.trained_model import TrainedModel, config_of
from tests.helpers.models.small_clip import RESOLUTION
from tests.helpers.sets.small_set import NAMES, PLAIN
from trainers.base.options import model_options, own_options
from trainers.base.towers import load_towers


def untrained(root: Path, trainer: str, *words: str, tower: str = "ViT") -> TrainedModel:
    """A method's model on the small set's CLIP; a picture has 4 x 4 regions (ResNet: 2 x 2).

    Args:
        root: of `write_set`.
        trainer: name of the method.
        *words: further words of a train.py command.
        tower: of the CLIP below `root`.
    """
    side = RESOLUTION[tower]
    keys = {"MODEL.BACKBONE.NAME": root / "mine" / "clip.pt", "INPUT.SIZE": (side, side)}
    flags = ["--trainer", trainer, "--config-file", str(PLAIN)]
    pairs = [str(word) for pair in keys.items() for word in pair]
    cfg = config_of([*flags, *pairs, *words])
    method = TRAINER_REGISTRY.get(trainer).model_class
    options = own_options(cfg, trainer)
    clip, _ = load_towers(cfg, method, options, torch.device("cpu"))
    model = method(NAMES, clip, seed=1, **model_options(method, options)).eval()
    transform = evaluation_transform(cfg)
    return TrainedModel(cfg, model, transform, trainer, None, 0, "last_step", "")


def a_picture(root: Path, number: int = 0) -> tuple[Path, Image.Image]:
    """A test picture of the small set: its file, and itself."""
    path = root / "mine" / "pictures" / f"test{number}.png"
    return path, read_picture(path)
