"""Hours that runs take on two CPU cores, reckoned from the measured steps of docs/performance.md.

What that page does not state is assumed, and `ASSUMPTIONS` says so. Nobody has measured the hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from yacs.config import CfgNode

from datasets.files.list_files import ListEntry
from loading.class_samplers import make_sampler
from loading.transforms import COUNTABLE

# Seconds of an LMPT step of 64 images with so many classes, and of encoding a view of 224 x 224
# pixels: docs/performance.md, its first table, rows "step" and "cache, 2 x 128 + 64 views". RN101
# has RN50's text tower, and takes 9.50 in place of 5.79 thousand million multiply-adds a view.
STEP_SECONDS = {
    ("RN50", 20): 0.276,
    ("RN50", 80): 0.937,
    ("ViT-B/16", 20): 0.270,
    ("ViT-B/16", 80): 0.948,
}
CACHE_SECONDS = {"RN50": 17.0, "ViT-B/16": 41.1}
CACHED_VIEWS = 2 * 128 + 64
COCO_CAPTIONS = 118_287  # images of train2017, at one caption each

ASSUMPTIONS = (
    "Assumed: a step takes one pass of the prompts (CoOp, as LMPT), two with two contexts",
    "(DualCoOp, TaIDPT), 1.5 an image (CoCoOp), whatever N_CTX; a pass goes by a line through 20",
    "and 80 classes, a view by its pixels and multiply-adds; a caption is as a class; a choice of",
    "classes leaves no image out.",
)
_LIKE = {"RN101": ("RN50", 9.504 / 5.793)}  # whose text tower, and views in those of it
_SIDE = 224  # pixels
_REGIONS = ("DualCoOp", "TaIDPT")  # their cached features are their own
_RECOMPUTED = 1.5  # forward twice and backward, where a pass is one of each
_WIDTHS = {"RN50": 1024, "RN101": 512, "ViT-B/16": 512}  # D
_STRIDES = {"RN50": 32, "RN101": 32, "ViT-B/16": 16}  # side of a region, pixels

# Backbone, size, resize, method with regions or "", split.
Views = tuple[str, tuple[int, int], str, str, str]
Cached = dict[Views, int]  # how many views of a kind are encoded once for all runs


@dataclass(frozen=True)
class Work:
    """What the runs of a row have to do.

    Attributes:
        epochs: of a run.
        steps: of a run.
        step_seconds: seconds of a step.
        area: pixels of a view, in those of 224 x 224.
        view_seconds: seconds of a view of 224 x 224 pixels.
        run_views: views that each run encodes anew.
        cached: views that are encoded once.
        caption_seconds: seconds of all captions, which are encoded once.
    """

    epochs: int
    steps: int
    step_seconds: float
    area: float
    view_seconds: float
    run_views: int
    cached: Cached
    caption_seconds: float

    def hours(self, runs: int, cached: Cached) -> float:
        """Hours of all runs; what they encode joins `cached`, and what is there costs nothing."""
        views = sum(count for kind, count in self.cached.items() if kind not in cached)
        cached.update(self.cached)
        views += runs * self.run_views
        seconds = runs * self.steps * self.step_seconds + self.caption_seconds
        return (seconds + views * self.area * self.view_seconds) / 3600


def work_of(
    cfg: CfgNode, classes: int, train: Sequence[ListEntry], test: Sequence[ListEntry]
) -> Work | None:
    """What a run has to do; None where docs/performance.md says nothing of the backbone.

    Args:
        cfg: of the run.
        classes: C, of a choice of classes those that are kept.
        train: entries of the training list.
        test: entries of the test list.
    """
    trainer = cfg.TRAINER.NAME
    backbone, cost = _LIKE.get(cfg.MODEL.BACKBONE.NAME, (cfg.MODEL.BACKBONE.NAME, 1.0))
    if backbone not in CACHE_SECONDS or not train:
        return None
    if cfg.DATASET.NUM_SHOTS > 0:
        train = train[: cfg.DATASET.NUM_SHOTS * classes]  # at most
    own = cfg.TRAINER.get(trainer.upper(), {}).get("CLASSES_PER_STEP", 0)
    one_pass = _pass_seconds(backbone, min(own, classes) or classes)
    size = tuple(cfg.INPUT.SIZE)
    kind = (cfg.MODEL.BACKBONE.NAME, size, cfg.INPUT.RESIZE, trainer if trainer in _REGIONS else "")
    cached, run_views, captions = {(*kind, "test"): len(test)}, 0, 0
    epochs = cfg.OPTIM.MAX_EPOCH if trainer != "ZeroshotCLIP" else 0
    if cfg.DATASET.TEXT_AS_IMAGE:
        captions = COCO_CAPTIONS if cfg.DATASET.TEXTS else len(train)
    elif epochs and COUNTABLE.issuperset(cfg.INPUT.TRANSFORMS):
        cached[(*kind, _shots(cfg))] = 2 * len(train)
    else:
        run_views = epochs * len(train)
    if cfg.TEST.SAVE_SCORES == "all" and (captions or run_views):
        cached[(*kind, "plain training")] = len(train)
    return Work(
        epochs,
        epochs * _batches(cfg, train, captions),
        one_pass * _passes(cfg),
        size[0] * size[1] / _SIDE**2,
        cost * CACHE_SECONDS[backbone] / CACHED_VIEWS,
        run_views,
        cached,
        captions * one_pass / classes / 2,  # half a pass is forward
    )


def _shots(cfg: CfgNode) -> str:
    """Name of a training split: other shots are other images."""
    return f"train, {cfg.DATASET.NUM_SHOTS} shots" if cfg.DATASET.NUM_SHOTS > 0 else "train"


def _pass_seconds(backbone: str, classes: int) -> float:
    """Seconds of a step with so many classes, on the line through the measured ones."""
    few, many = (STEP_SECONDS[backbone, count] for count in (20, 80))
    return few + (many - few) * (classes - 20) / 60


def cache_bytes(cached: Cached) -> int:
    """Bytes of cached features: D of a view in fp32, and in fp16 those of its regions.

    Args:
        cached: filled by `Work.hours`.
    """
    total = 0
    for (backbone, size, _, with_regions, _), views in cached.items():
        cells = (size[0] // _STRIDES[backbone]) * (size[1] // _STRIDES[backbone])
        total += views * _WIDTHS[backbone] * (4 + (2 * cells if with_regions else 0))
    return total


def _passes(cfg: CfgNode) -> float:
    """How often the prompts pass the text tower in a step, forward and backward."""
    if cfg.TRAINER.NAME == "CoCoOp":
        return _RECOMPUTED * cfg.DATALOADER.TRAIN_X.BATCH_SIZE
    return 2.0 if cfg.TRAINER.NAME in _REGIONS else 1.0


def _batches(cfg: CfgNode, train: Sequence[ListEntry], captions: int) -> int:
    """Batches of an epoch, of images or, where there are any, of captions."""
    batch = cfg.DATALOADER.TRAIN_X.BATCH_SIZE
    if captions:
        return -(-captions // batch)
    classes = 1 + max((label for entry in train for label in entry.labels), default=0)
    targets = np.zeros((len(train), classes), dtype=np.float32)  # [N, C]
    for target, entry in zip(targets, train, strict=True):
        target[list(entry.labels)] = 1
    return len(make_sampler(cfg.TRAINER.SAMPLER, list(targets), batch, seed=0, flip=0.0))
