"""A small data set with one label for each image, as a file written for CoOp would read it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from PIL import Image
from yacs.config import CfgNode

BREEDS = ["beagle", "maine_coon", "pug", "sphynx"]
SIZES = {"train": 16, "val": 4, "test": 12}
SIDE = 32  # pixels, what the CLIP beside it takes


@DATASET_REGISTRY.register()
class SmallPets(DatasetBase):
    """Folders of pictures: small_pets/<split>/<breed>/<number>.png."""

    def __init__(self, cfg: CfgNode) -> None:
        root = Path(cfg.DATASET.ROOT, "small_pets")
        half = math.ceil(len(BREEDS) / 2)
        chosen = {"all": BREEDS, "base": BREEDS[:half], "new": BREEDS[half:]}
        breeds = chosen[cfg.DATASET.SUBSAMPLE_CLASSES]
        splits = [
            [
                Datum(impath=str(path), label=label, classname=breed)
                for label, breed in enumerate(breeds)
                for path in sorted((root / split / breed).iterdir())
            ]
            for split in SIZES
        ]
        train, val, test = splits
        train = self.generate_fewshot_dataset(train, num_shots=cfg.DATASET.NUM_SHOTS)
        super().__init__(train_x=train, val=val, test=test)


def write_pets(root: Path) -> None:
    """Write the pictures, and `clip.pt`, below `root`/small_pets."""
    from tests.helpers.models.small_clip import openai_weights, random_clip

    rng = np.random.default_rng(0)
    for split, size in SIZES.items():
        for i in range(size):
            label = i % len(BREEDS)
            folder = root / "small_pets" / split / BREEDS[label]
            folder.mkdir(parents=True, exist_ok=True)
            picture = rng.integers(0, 255, (SIDE, SIDE, 3))
            picture[8 * label : 8 * label + 8] = 40 * label  # a stripe to learn from
            Image.fromarray(picture.astype(np.uint8)).save(folder / f"{i}.png")
    torch.save(openai_weights(random_clip("ViT")), root / "small_pets" / "clip.pt")


def pet_arguments(root: Path, trainer: str, output: Path, *more: str) -> list[str]:
    """Words of a train.py command on that set: two quick epochs."""
    flags = ["--root", root, "--trainer", trainer, "--output-dir", output, "--seed", 1]
    keys = {
        "DATASET.NAME": "SmallPets",
        "MODEL.BACKBONE.NAME": root / "small_pets" / "clip.pt",
        "INPUT.SIZE": (SIDE, SIDE),
        "DATALOADER.NUM_WORKERS": 0,
        "DATALOADER.TRAIN_X.BATCH_SIZE": 8,
        "OPTIM.NAME": "sgd",
        "OPTIM.LR": 0.02,
        "OPTIM.MAX_EPOCH": 2,
        "TEST.EVALUATOR": "Classification",
    }
    words = [*flags, *(word for pair in keys.items() for word in pair)]
    return [*map(str, words), *more]
