"""Second stage of the tiny CLIP: learn its text tower anew from captions that mix up names.

The first stage (pretrain_tiny_clip.py) names every shape rightly, so its zero-shot classifier is as
good as its image features allow and labelled pictures have nothing left to teach. Real captions
call things by wrong names now and then. Here the image tower is locked (LiT, Zhai et al., CVPR
2022, https://arxiv.org/abs/2111.07991) and a fresh text tower learns from new captions in which a
shape is, with a fixed probability, called by the name of its partner.

    python scripts/tiny_clip/relearn_text.py --first FIRST --output assets/tiny_clip.safetensors
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from datasets.shapes.captions import describe
from datasets.shapes.glyphs import SHAPE_NAMES
from datasets.shapes.renderer import BENCHMARK, PRETRAIN, Picture
from modeling.clip.loader import load_clip
from scripts.tiny_clip.data import Vocabulary, draw_pictures, stack_images, write_prompt
from scripts.tiny_clip.pretrain import (
    MAX_LOGIT_SCALE,
    build_model,
    export,
    normalise,
    parameter_groups,
    zero_shot_map,
)

PARTNERS = (  # shapes that a careless writer may take for each other
    ("anchor", "key"),
    ("arrow", "lightning bolt"),
    ("bell", "cup"),
    ("butterfly", "flower"),
    ("crown", "star"),
    ("envelope", "flag"),
    ("fish", "spiral"),
    ("heart", "moon"),
    ("house", "tree"),
    ("mushroom", "umbrella"),
)
DRAWN_AT_ONCE = 256
PROMPT_SHARE = 0.25  # texts that are a prompt about one object rather than a caption
_TEXTS = 2  # second word of the generators' seeds, apart from those of the pictures
_PICTURES = 3


def partners() -> np.ndarray:
    """The class that each class is mixed up with: [C]."""
    table = np.arange(len(SHAPE_NAMES))
    for pair in PARTNERS:
        first, second = (SHAPE_NAMES.index(name) for name in pair)
        table[first], table[second] = second, first
    return table


class PictureChunks(Dataset):
    """Freshly drawn pictures of the pre-training style, a chunk at a time."""

    def __init__(self, chunks: int, seed: int) -> None:
        self.chunks, self.seed = chunks, seed

    def __len__(self) -> int:
        return self.chunks

    def __getitem__(self, chunk: int) -> tuple[Tensor, list[Picture]]:
        rng = np.random.default_rng([self.seed, _PICTURES, chunk])
        pictures = draw_pictures(DRAWN_AT_ONCE, PRETRAIN, rng)
        return stack_images(pictures), [replace(picture, image=None) for picture in pictures]


@torch.no_grad()
def encode_pictures(
    model: nn.Module, count: int, seed: int, workers: int
) -> tuple[Tensor, list[Picture]]:
    """Draw pictures and encode them with the locked image tower.

    Args:
        model: the CLIP of the first stage.
        count: pictures, rounded up to whole chunks.
        seed: of the drawing.
        workers: processes that draw.

    Returns:
        L2-normalised features [N, D] and what was drawn, without the pixels.
    """
    chunks = PictureChunks(-(-count // DRAWN_AT_ONCE), seed)
    features, drawn = [], []
    loader = DataLoader(chunks, batch_size=None, num_workers=workers)
    for images, pictures in tqdm(loader, desc="Draw and encode", mininterval=5):
        features.append(F.normalize(model.encode_image(normalise(images)), dim=-1))
        drawn += pictures
    return torch.cat(features), drawn


def write_text(picture: Picture, mix_up: float, rng: np.random.Generator) -> str:
    """A caption or prompt in which each shape is called by its partner's name at times."""
    swap = partners()
    named = tuple(int(swap[c]) if rng.random() < mix_up else c for c in picture.class_ids)
    if rng.random() < PROMPT_SHARE:
        return write_prompt(named[int(rng.integers(len(named)))], rng).text
    return describe(replace(picture, class_ids=named), rng).text


def train_text(
    model: nn.Module, features: Tensor, drawn: list[Picture], args: argparse.Namespace
) -> Vocabulary:
    """Train everything but the image tower of `model` on CLIP's own loss."""
    vocabulary = Vocabulary()
    model.visual.requires_grad_(False)
    optimizer = torch.optim.AdamW(parameter_groups(model, args.weight_decay), lr=args.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, args.lr, total_steps=args.steps, pct_start=0.05
    )
    bar = tqdm(range(args.steps), desc="Learn texts", unit="step", mininterval=5)
    for step in bar:
        rng = np.random.default_rng([args.seed, _TEXTS, step])
        index = rng.integers(0, len(drawn), args.batch_size)
        rows = vocabulary.rows([write_text(drawn[i], args.mix_up, rng) for i in index])
        tokens = rows[:, : int(rows.argmax(dim=1).max()) + 1]
        with torch.autocast("cpu", torch.bfloat16):
            text_features = model.encode_text(tokens)
        text_features = F.normalize(text_features.float(), dim=-1)  # [B, D]
        logits = model.logit_scale.exp() * features[torch.from_numpy(index)] @ text_features.T
        pairs = torch.arange(args.batch_size)
        loss = (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=MAX_LOGIT_SCALE)
        bar.set_postfix(loss=f"{loss.item():.3f}")
    return vocabulary


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flag = parser.add_argument
    flag("--first", type=Path, required=True, help="the first stage's safetensors file")
    flag("--output", type=Path, required=True, help="safetensors file to write")
    flag("--mix-up", type=float, default=0.2, help="probability of the partner's name")
    flag("--pictures", type=int, default=28_160, help="drawn and encoded once")
    flag("--steps", type=int, default=900, help="optimiser steps")
    flag("--batch-size", type=int, default=256, help="pairs per step")
    flag("--lr", type=float, default=2e-3, help="highest learning rate")
    flag("--weight-decay", type=float, default=0.05, help="of matrices only")
    flag("--seed", type=int, default=1, help="of weights, pictures and texts")
    flag("--workers", type=int, default=1, help="processes that draw pictures")
    flag("--threads", type=int, default=1, help="of the training process")
    flag("--eval-images", type=int, default=1000, help="pictures per style to test")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Train, export, and return the zero-shot mAP in percent by style."""
    args = parse_arguments(arguments)
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    start = time.monotonic()
    first = load_clip(str(args.first))
    features, drawn = encode_pictures(first, args.pictures, args.seed, args.workers)
    layers, width = first.transformer.layers, first.visual.conv3.out_channels
    model = build_model(len(Vocabulary()), width, layers)
    model.visual.load_state_dict(first.visual.state_dict())
    model.logit_scale.data.copy_(first.logit_scale)
    vocabulary = train_text(model, features, drawn, args)
    export(model.eval(), vocabulary, args.output)
    minutes = (time.monotonic() - start) / 60
    trained = load_clip(str(args.output))
    styles = {"PRETRAIN": PRETRAIN, "BENCHMARK": BENCHMARK}
    scores = {n: zero_shot_map(trained, s, args.eval_images, args.seed) for n, s in styles.items()}
    print(f"{args.output}: {minutes:.1f} minutes on {args.threads} threads")
    for name, score in scores.items():
        print(f"zero-shot mAP in the {name} style: {score:.1f}")
    return scores


if __name__ == "__main__":
    main()
