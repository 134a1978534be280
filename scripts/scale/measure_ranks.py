"""Measure what several ranks save and what they cost, on the CPU cores at hand.

    python scripts/scale/measure_ranks.py > docs/scale_ranks.csv
    python scripts/scale/measure_ranks.py --ranks 1 2 --classes 200 2000 --geometry ViT-B/16

For each number of ranks, a row of CSV each: seconds to encode 256 pictures that the ranks share; of
a training step on prompts for C classes, shared out and not; of exchanges of so many numbers.
Medians over repetitions, one CPU thread a rank. Weights are random, which changes no time.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
import torch.distributed as dist

from common.ranks import (
    average_gradients,
    gather_rows,
    is_first,
    share,
    wait_for_all,
    working_together,
    world_size,
)
from modeling.encoders import frozen_clip
from modeling.encoders.features import Features
from modeling.encoders.frozen_clip import FrozenClip
from modeling.prompts.prompt_model import PromptModel
from scripts.benchmark.data import GEOMETRIES, SIDES, write_weights
from scripts.benchmark.measure import Meter
from trainers.base.step import TrainingStep

HEADER = ("what", "geometry", "ranks", "size", "gathered", "averaged", "seconds")
_PICTURES, _BATCH = 256, 64
_NUMBERS = (1_000, 100_000, 10_000_000)  # floats of an exchange

Measured = tuple[str, int, int, int, float]  # what, its size, numbers exchanged, seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, or, started by torchrun, a rank of it."""
    args = _parse(arguments)
    if "RANK" in os.environ:
        _measure(args)
        return
    csv.writer(sys.stdout, lineterminator="\n").writerow(HEADER)
    sys.stdout.flush()
    environment = {"GLOO_SOCKET_IFNAME": "lo", **os.environ, "OMP_NUM_THREADS": "1"}
    for ranks in args.ranks:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc_per_node", str(ranks), __file__, *(arguments or sys.argv[1:])]
        subprocess.run(command, env=environment, check=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flag = parser.add_argument
    flag("--ranks", nargs="+", type=int, default=[1, 2, 4], metavar="N", help="1 2 4")
    flag("--classes", nargs="+", type=int, default=[20, 200, 2000], metavar="C", help="20 200 2000")
    flag("--geometry", choices=tuple(SIDES), default="tiny", help="of CLIP; tiny")
    flag("--seconds", type=float, default=5.0, help="to spend on repeating each measurement; 5")
    return parser.parse_args(arguments)


def _measure(args: argparse.Namespace) -> None:
    torch.manual_seed(0)
    with working_together(use_cuda=False), tempfile.TemporaryDirectory() as place:
        clip = _clip(args.geometry, Path(place))
        rows = [*_encoding(clip, args), *_steps(clip, args), *_exchanges(args)]
        if is_first():
            writer = csv.writer(sys.stdout, lineterminator="\n")
            for what, *sizes, seconds in rows:
                writer.writerow((what, args.geometry, world_size(), *sizes, f"{seconds:.6f}"))
            sys.stdout.flush()


def _clip(geometry: str, place: Path) -> FrozenClip:
    if geometry not in GEOMETRIES:
        return FrozenClip.load(geometry)
    write_weights(place / "clip.safetensors", geometry)
    return FrozenClip.load(str(place / "clip.safetensors"))


def _timed(call: Callable[[], object], seconds: float) -> float:
    """Median seconds of a call that all ranks make as often."""
    meter = Meter(torch.device("cpu"), seconds)
    call()
    wait_for_all()
    once = gather_rows(torch.tensor([meter.once(call)]), world_size()).max().item()
    wait_for_all()
    times = sorted(meter.once(call) for _ in range(max(3, min(200, int(seconds / once)))))
    return times[len(times) // 2]


def _encoding(clip: FrozenClip, args: argparse.Namespace) -> Iterator[Measured]:
    pictures = torch.rand(_PICTURES, 3, clip.input_size, clip.input_size)[share(_PICTURES)]

    @torch.no_grad()
    def encode() -> None:
        for some in pictures.split(8):
            clip.encode_images(some)
        wait_for_all()

    yield "encode", _PICTURES, 0, 0, _timed(encode, args.seconds)


def _steps(clip: FrozenClip, args: argparse.Namespace) -> Iterator[Measured]:
    least = frozen_clip._PROMPTS_OF_A_RANK
    for classes in args.classes:
        model = PromptModel([f"thing {c}" for c in range(classes)], clip, CSC=True)
        features = torch.nn.functional.normalize(torch.randn(_BATCH, clip.feature_width), dim=-1)
        targets = (torch.rand(_BATCH, classes) < 0.05).float()
        step = TrainingStep(model.terms, model.learner.parameters(), clip.precision.scaler)
        places = torch.arange(_BATCH)
        inputs = (Features(features), targets, places, places)
        trained = sum(parameter.numel() for parameter in step.parameters)
        for what, value in (("step", least), ("step, not shared", sys.maxsize)):
            frozen_clip._PROMPTS_OF_A_RANK = value
            seconds = _timed(lambda step=step, inputs=inputs: step(*inputs), args.seconds)
            yield what, classes, classes * clip.feature_width, trained, seconds
    frozen_clip._PROMPTS_OF_A_RANK = least


def _exchanges(args: argparse.Namespace) -> Iterator[Measured]:
    for count in _NUMBERS if dist.is_initialized() else ():
        parameter = torch.nn.Parameter(torch.zeros(count))
        parameter.grad = torch.zeros(count)
        own = torch.zeros(count)[share(count)]
        average = _timed(lambda p=parameter: average_gradients([p]), args.seconds)
        yield "average", count, 0, count, average
        gather = _timed(lambda o=own, n=count: gather_rows(o, n), args.seconds)
        yield "gather", count, count, 0, gather


if __name__ == "__main__":
    main()
