"""Time a method's training on cached features of VOC-LT's or COCO-LT's size, and its evaluation.

    python scripts/benchmark/probe.py                           TARP, ViT-B/16, 50 epochs
    python scripts/benchmark/probe.py --trainer DualCoOp --classes 80 --markdown
    python scripts/benchmark/probe.py --quick                   a look, in seconds

Features are random numbers of the published geometry, which neither time nor memory depends on:
what is measured is a run without the encoding of its pictures. It is the trainer that train.py
runs, with its recommended recipe.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import torch
from tabulate import tabulate

import train
from configuration import build_cfg
from loading.cache.feature_cache import CachedLoader, FeatureCache
from modeling.clip.precision import PRECISIONS
from modeling.encoders.features import Features
from scripts.benchmark.data import BENCHMARKS, FOLDER, GEOMETRIES, SIDES, write_set, write_weights
from scripts.benchmark.measure import Meter, hardware
from trainers.base import PromptTrainer

_QUICK = ("tiny", 64, 32)  # backbone, training and test images


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, measure, print."""
    args = _parser().parse_intermixed_args(arguments)
    benchmark = BENCHMARKS[args.classes]
    train_images, test_images = benchmark.train, benchmark.test
    if args.quick:
        args.backbone, train_images, test_images = _QUICK
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_set(root, benchmark.names, train_images, test_images, pictures=False)
        with contextlib.redirect_stdout(io.StringIO()):  # the trainer's own log
            trainer = _build(args, root)
            rows = _measure(trainer, Meter(trainer.device, 0.0))
    print(f"{hardware(trainer.device)}; {args.trainer}, {args.backbone} in {args.precision}\n")
    print(tabulate(rows, ("what", ""), tablefmt="github" if args.markdown else "simple"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flag = parser.add_argument
    flag("--trainer", default="TARP", metavar="NAME", help="default: TARP")
    flag("--backbone", default="ViT-B/16", choices=tuple(SIDES), help="default: ViT-B/16")
    flag("--classes", type=int, default=20, choices=tuple(BENCHMARKS), help="default: 20")
    flag("--epochs", type=int, default=50, metavar="N", help="default: 50")
    flag("--precision", default="fp32", choices=tuple(PRECISIONS), help="default: fp32")
    flag("--quick", action="store_true", help="the tiny CLIP, on a few images")
    flag("--markdown", action="store_true", help="print a markdown table")
    flag(
        "opts", nargs="*", metavar="KEY VALUE", help="config overrides, e.g. TRAINER.TARP.ADAPTER 0"
    )
    return parser


def _build(args: argparse.Namespace, root: Path) -> PromptTrainer:
    """The trainer, its loaders on random features."""
    weights = args.backbone
    if weights in GEOMETRIES:
        weights = root / "clip.safetensors"
        write_weights(weights, args.backbone)
    keys = {
        "DATASET.NAME": "ListLT",
        "DATASET.FOLDER": FOLDER,
        "MODEL.BACKBONE.NAME": weights,
        "INPUT.SIZE": (SIDES[args.backbone],) * 2,
        "DATALOADER.CACHE_DIR": root / "cache",
        f"TRAINER.{args.trainer.upper()}.PREC": args.precision,
        "OPTIM.MAX_EPOCH": args.epochs,
        "TEST.NO_TEST": True,
    }
    flags = ["--root", root, "--trainer", args.trainer, "--seed", 1, "--output-dir", root / "run"]
    words = [*flags, *(word for pair in keys.items() for word in pair), *args.opts]
    cfg = build_cfg(train.build_parser().parse_intermixed_args(list(map(str, words))))
    cfg.freeze()
    train.set_random_seed(cfg.SEED)
    trainer = train.build_trainer(cfg)
    data = trainer.dm.dataset
    trained, tested = (
        CachedLoader(partial(_random_features, trainer, items, views), loader.sampler)
        for items, views, loader in (
            (data.train_x, 2, trainer.train_loader_x),  # plain and mirrored
            (data.test, 1, trainer.test_loader),
        )
    )
    trainer.train_loader_x = trainer.data.train_loader = trained
    trainer.test_loader = tested
    return trainer


def _random_features(trainer: PromptTrainer, items: Sequence[Any], views: int) -> FeatureCache:
    """Features as the cache has them, about of unit length; as many as the towers would give."""
    side = trainer.cfg.INPUT.SIZE[0]
    like = trainer.clip.encode_images(torch.zeros(1, 3, side, side, device=trainer.device))
    kinds = ((like.global_features, torch.float32), (like.local_features, torch.float16))
    features = Features(
        *(
            None
            if one is None
            else torch.empty(
                views, len(items), *one.shape[1:], dtype=dtype, device=one.device
            ).normal_(std=one.shape[-1] ** -0.5)
            for one, dtype in kinds
        )
    )
    labels = torch.stack([torch.as_tensor(item.label) for item in items]).to(trainer.device)
    return FeatureCache(features, labels, [item.impath for item in items])


def _measure(trainer: PromptTrainer, meter: Meter) -> list[tuple[str, str]]:
    """Rows of the table."""
    loaders = (trainer.train_loader_x, trainer.test_loader)
    held = sum(_bytes(loader.cache.views) for loader in loaders)  # fills both caches
    train_images, test_images = (len(loader.cache) for loader in loaders)
    with meter.memory() as memory:
        started = time.process_time()
        training = meter.once(trainer.train)
        processor = time.process_time() - started
        evaluation = meter.once(lambda: trainer.test("test"))
    epochs = trainer.cfg.OPTIM.MAX_EPOCH
    steps = epochs * len(trainer.train_loader_x)
    peak = "unknown" if memory.peak is None else f"{memory.peak / 2**20:,.0f} MiB"
    return [
        (f"{epochs} epochs, {train_images:,} images", f"{training:.1f} s"),
        ("of all cores together", f"{processor:.1f} s"),
        (f"a step, of {steps:,}", f"{1e3 * training / steps:.1f} ms"),
        (f"evaluation, {test_images:,} images", f"{evaluation:.2f} s"),
        ("memory beside features", peak),
        ("cached features", f"{held / 2**20:,.1f} MiB"),
    ]


def _bytes(features: Features) -> int:
    tensors = (features.global_features, features.local_features)
    return sum(t.numel() * t.element_size() for t in tensors if t is not None)


if __name__ == "__main__":
    main()
