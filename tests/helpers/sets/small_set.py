"""A small multi-label set on disk, in the layout of ListLT, and a small CLIP beside it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tests.helpers.models.small_clip import RESOLUTION, openai_weights, random_clip

PLAIN = Path(__file__).parents[1] / "plain.yaml"  # no keys: keeps recipes out
NAMES = ["cat", "traffic light", "dog", "tv"]
TRAIN, TEST = 21, 9


def write_set(root: Path, tower: str = "ViT", seed: int = 0) -> None:
    """Write pictures, lists, labels, captions and `clip.pt` below `root`/mine."""
    folder = root / "mine"
    (folder / "pictures").mkdir(parents=True)
    rng = np.random.default_rng(seed)
    (folder / "labels.txt").write_text("".join(f"{n} {i}\n" for i, n in enumerate(NAMES)))
    captions = []
    for split, size in (("train", TRAIN), ("test", TEST)):
        rows = []
        for i in range(size):
            labels = np.flatnonzero(rng.random(len(NAMES)) < (0.8, 0.5, 0.3, 0.3))
            labels = labels if len(labels) else [i % len(NAMES)]
            path = f"pictures/{split}{i}.png"
            picture = rng.integers(0, 255, (40, 48, 3))
            for label in labels:  # a stripe for each class, so that there is something to learn
                picture[10 * label : 10 * label + 10, :, label % 3] = 255
            Image.fromarray(picture.astype(np.uint8)).save(folder / path)
            rows.append(f"{path} {' '.join(map(str, labels))}\n")
            words = " and ".join(NAMES[label] for label in labels)
            captions.append(
                f"{path} a picture of {words} on the wall\n" if split == "train" else ""
            )
        (folder / f"{split}.txt").write_text("".join(rows))
    (folder / "captions.txt").write_text("".join(captions))
    torch.save(openai_weights(random_clip(tower)), folder / "clip.pt")


def arguments(root: Path, trainer: str, output: Path, *more: str, tower: str = "ViT") -> list[str]:
    """Words of a train.py command on that set: a few quick epochs, and no method's own recipe."""
    side = RESOLUTION[tower]
    flags = ["--root", root, "--trainer", trainer, "--output-dir", output, "--seed", 1]
    flags += ["--config-file", PLAIN]
    keys = {
        "DATASET.NAME": "ListLT",
        "DATASET.FOLDER": "mine",
        "MODEL.BACKBONE.NAME": root / "mine" / "clip.pt",
        "INPUT.SIZE": (side, side),
        "DATALOADER.NUM_WORKERS": 0,
        "DATALOADER.TRAIN_X.BATCH_SIZE": 8,
        "OPTIM.NAME": "sgd",
        "OPTIM.LR": 0.02,
        "OPTIM.MAX_EPOCH": 4,
        "OPTIM.LR_SCHEDULER": "cosine",
        "OPTIM.WARMUP_EPOCH": 1,
        "OPTIM.WARMUP_TYPE": "constant",
    }
    words = [*flags, *(word for pair in keys.items() for word in pair)]
    return [*map(str, words), *more]


def results(output: Path) -> dict:
    """What a run reported."""
    return json.loads((output / "results.json").read_text())


def contexts(output: Path) -> Tensor:
    """The contexts of a run's newest checkpoint."""
    folder = output / "prompt_learner"
    name = (folder / "checkpoint").read_text().strip()
    return torch.load(folder / name, weights_only=True)["state_dict"]["ctx"]
