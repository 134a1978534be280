"""The two sides that scripts/bench.py compares: built from one setting, measured on one meter."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import torch

import train
from configuration import build_cfg
from modeling.clip.loader import load_clip
from scripts.benchmark.data import FOLDER, Benchmark
from scripts.benchmark.measure import Meter, operations
from scripts.benchmark.naive import NaiveLMPT
from trainers.base import PromptTrainer

EPOCHS = 50  # of a whole run, as the release's README has it
RECIPE = Path(__file__).resolve().parents[2] / "configs/trainers/LMPT/released.yaml"
_FIRST_STEPS = 5  # on a GPU the fourth one is recorded and the fifth is a replay
_WORKERS = 8  # that decode for our side's cache on a GPU machine


@dataclass(frozen=True)
class Setting:
    """What one case runs on.

    Attributes:
        root: folder above the data set's own.
        weights: MODEL.BACKBONE.NAME.
        side: of a picture, in pixels.
        benchmark: names and loss settings.
        device: where to run.
        precision: of our side.
        batch_size: images a step.
    """

    root: Path
    weights: str
    side: int
    benchmark: Benchmark
    device: torch.device
    precision: str
    batch_size: int

    @property
    def naive_precision(self) -> str:
        """Of the released recipe: fp16 on a GPU, as released, and fp32 on a CPU, which lacks it."""
        return "fp16" if self.device.type == "cuda" else "fp32"


@dataclass(frozen=True)
class Measured:
    """What one side takes.

    Attributes:
        step: seconds of a training step.
        epoch: seconds of an epoch; None where it is steps alone.
        evaluation: seconds of the test images; the naive side's without average precision.
        cache: seconds in which both caches are made; None without caches.
        memory: bytes at the peak of steps, above what was held before; None where unknown.
        operations: floating-point operations of a step.
    """

    step: float
    epoch: float | None
    evaluation: float
    cache: float | None
    memory: int | None
    operations: int


def build_ours(setting: Setting, output: Path) -> PromptTrainer:
    """The project's own LMPT trainer with the released recipe's settings, nothing cached yet."""
    on_gpu = setting.device.type == "cuda"
    keys = {
        "DATASET.NAME": "ListLT",
        "DATASET.FOLDER": FOLDER,
        "MODEL.BACKBONE.NAME": setting.weights,
        "INPUT.SIZE": (setting.side, setting.side),
        "USE_CUDA": on_gpu,
        "DATALOADER.TRAIN_X.BATCH_SIZE": setting.batch_size,
        "DATALOADER.TEST.BATCH_SIZE": 256 if on_gpu else setting.batch_size,
        "DATALOADER.NUM_WORKERS": _WORKERS if on_gpu else 0,
        "DATALOADER.CACHE_DIR": output / "cache",  # no features of an earlier run
        "TRAINER.LMPT.PREC": setting.precision,
        "TRAINER.LOSS.DB.MU": setting.benchmark.mu,
        "TRAINER.LOSS.DB.NEG_SCALE": setting.benchmark.neg_scale,
        "OPTIM.MAX_EPOCH": EPOCHS,
    }
    flags = ["--root", setting.root, "--trainer", "LMPT", "--seed", 1]
    files = ["--config-file", RECIPE, "--output-dir", output]
    words = [*flags, *files, *(word for pair in keys.items() for word in pair)]
    cfg = build_cfg(train.build_parser().parse_intermixed_args(list(map(str, words))))
    cfg.freeze()
    train.set_random_seed(cfg.SEED)
    return train.build_trainer(cfg)


def build_naive(setting: Setting, trainer: PromptTrainer) -> NaiveLMPT:
    """The released recipe on the trainer's data, from the trainer's contexts."""
    dataset = trainer.dm.dataset
    return NaiveLMPT(
        load_clip(setting.weights, setting.naive_precision, setting.device),
        dataset.classnames,
        trainer.model.learner.contexts(),
        trainer.method_cfg.M_CTX,
        torch.stack([torch.as_tensor(item.label) for item in dataset.train_x]),
        [captions[0] for captions in dataset.captions],
        setting.benchmark.mu,
        setting.benchmark.neg_scale,
    )


def measure_ours(trainer: PromptTrainer, meter: Meter) -> Measured:
    """Caches, steps, epochs and evaluations of the trainer itself."""
    cache = meter.once(lambda: (trainer.train_loader_x.cache, trainer.test_loader.cache))
    trainer.before_train()
    trainer.set_model_mode("train")
    trainer.batch_idx, trainer.num_batches = 0, 2  # not the last one, which moves the rate
    whole = trainer.cfg.DATALOADER.TRAIN_X.BATCH_SIZE
    batches = cycle([b for b in list(trainer.train_loader_x) if len(b["label"]) == whole])

    def step() -> None:
        trainer.forward_backward(dict(next(batches)))

    contexts = trainer.model.learner.ctx
    arithmetic = operations(
        lambda: torch.autograd.grad(trainer.model.text_features().sum(), contexts)
    )
    with trainer.clip.worthwhile_threads():
        with meter.memory() as memory:
            for _ in range(_FIRST_STEPS):
                step()
        seconds = meter.median(step)
    epoch = meter.median(trainer.run_epoch)
    evaluation = meter.median(lambda: trainer.test("test"))
    trainer.close_writer()
    return Measured(seconds, epoch, evaluation, cache, memory.peak, arithmetic)


def measure_naive(naive: NaiveLMPT, trainer: PromptTrainer, meter: Meter) -> Measured:
    """Steps and the scoring of the trainer's test images; all else follows from these."""
    batch_size = trainer.cfg.DATALOADER.TRAIN_X.BATCH_SIZE
    rows = range(batch_size)
    paths = [trainer.dm.dataset.train_x[row].impath for row in rows]
    flips = [row % 2 == 1 for row in rows]

    def step() -> None:
        naive.step(paths, rows, flips)

    tests = [item.impath for item in trainer.dm.dataset.test]
    with trainer.clip.worthwhile_threads():
        with meter.memory() as memory:
            arithmetic = operations(step)
        seconds = meter.median(step)
        scoring = meter.once(lambda: naive.scores(tests, batch_size))
    return Measured(seconds, None, scoring, None, memory.peak, arithmetic)
