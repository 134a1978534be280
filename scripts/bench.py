"""Time this project's LMPT against the released recipe made runnable, in one table.

    python scripts/bench.py --quick                     a look, in seconds
    python scripts/bench.py --markdown                  all six cases
    python scripts/bench.py --only ViT --precision bf16
    python scripts/bench.py --device cuda --whole-run   at VOC-LT's and COCO-LT's sizes

Both sides compute the same loss (configs/trainers/LMPT/released.yaml;
tests/scripts/benchmark/test_bench.py compares them) on batches of 64 generated JPEGs of VOC's size,
with random weights of published geometry. The slow side is scripts/benchmark/naive.py, the fast
side is the trainer that train.py runs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from tabulate import tabulate

from evaluation.metrics.average_precision import average_precision
from scripts.benchmark.data import BENCHMARKS, GEOMETRIES, SIDES, write_set, write_weights
from scripts.benchmark.measure import Meter, hardware
from scripts.benchmark.naive import growing_average_precision
from scripts.benchmark.sides import (
    EPOCHS,
    Setting,
    build_naive,
    build_ours,
    measure_naive,
    measure_ours,
)

VIEWS = 2  # of a training image in the cache: plain and mirrored
_BATCH, _CPU_SIZES = 64, (128, 64)  # training and test images; a GPU takes the whole set
_QUICK, _QUICK_BATCH, _QUICK_SIZES = ("tiny 20",), 8, (32, 16)
_CASES = {f"{backbone} {count}": (backbone, count) for count in BENCHMARKS for backbone in SIDES}
_PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_HEADERS = ("case", "what", "naive", "ours", "ratio", "naive's floor", "our floor")
_UNKNOWN = "–"
_NOTES = """
Steps are of {batch} images, medians after the first ones; floors are the matrix products of a step
at the rate of a large one. Memory is the peak of the first steps above what was held before them.
The naive evaluation is without average precision, which has rows of its own. What begins with = is
computed from the rows above it: naive epochs from steps; runs from {epochs} epochs, as many
evaluations and, for ours, the cache."""

Row = tuple[str, ...]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = _parser()
    args = parser.parse_args(arguments)
    args.batch = _QUICK_BATCH if args.quick else _BATCH
    offered = _QUICK if args.quick else tuple(_CASES)
    cases = [case for case in offered if args.only in case]
    if not cases:
        parser.error(f"--only {args.only!r}: no case has that in its name: {', '.join(offered)}.")
    if args.train_images is not None and args.train_images < args.batch:
        parser.error(f"--train-images must fill a batch of {args.batch}, got {args.train_images}.")
    if args.device == "auto":
        args.device = "cuda" if torch.cuda.is_available() else "cpu"
    elif args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU here.")
    torch.backends.cudnn.benchmark = args.device == "cuda"  # as in train.py
    args.precision = args.precision or ("fp32" if args.device == "cpu" else "bf16")
    meter = Meter(torch.device(args.device), args.seconds)
    rows: list[Row] = []
    classes = set()
    with tempfile.TemporaryDirectory() as folder:
        for case, setting in _settings(cases, args, Path(folder)):
            print(f"{case} ...", file=sys.stderr)
            with contextlib.redirect_stdout(io.StringIO()):  # the trainer's own log
                rows += _measure(case, setting, meter, args.whole_run)
            classes.add(len(setting.benchmark.names))
    for count in sorted(classes):
        size = args.batch if args.quick else BENCHMARKS[count].test
        rows.append(_average_precision(count, size, args.batch, meter))
    print(f"{hardware(meter.device)}; ours in {args.precision}\n")
    print(tabulate(rows, _HEADERS, tablefmt="github" if args.markdown else "simple"))
    print(_NOTES.format(batch=args.batch, epochs=EPOCHS))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flag = parser.add_argument
    flag("--quick", action="store_true", help="the tiny CLIP alone, on a few pictures")
    flag("--only", default="", metavar="TEXT", help="cases whose name has it: ViT, RN50 20, ...")
    flag("--device", default="auto", choices=("auto", "cpu", "cuda"))
    flag("--precision", choices=_PRECISIONS, help="of ours; fp32 on a CPU, bf16 on a GPU")
    flag("--seconds", type=float, default=5.0, help="to spend on repeating each measurement")
    flag("--train-images", type=int, metavar="N", help="128 on a CPU, the set's on a GPU")
    flag("--test-images", type=int, metavar="N", help="64 on a CPU, the set's on a GPU")
    flag("--whole-run", action="store_true", help=f"also train {EPOCHS} epochs in earnest")
    flag("--markdown", action="store_true", help="print a markdown table")
    return parser


def _settings(
    cases: Sequence[str], args: argparse.Namespace, folder: Path
) -> Iterator[tuple[str, Setting]]:
    """Cases and what they run on; data sets and weights are written to `folder`."""
    for case in cases:
        backbone, classes = _CASES[case]
        benchmark = BENCHMARKS[classes]
        root = folder / str(classes)
        if not root.exists():
            train, test = benchmark.train, benchmark.test
            if args.device == "cpu":
                train, test = _QUICK_SIZES if args.quick else _CPU_SIZES
            write_set(root, benchmark.names, args.train_images or train, args.test_images or test)
        weights = backbone
        if backbone in GEOMETRIES:
            weights = folder / f"{backbone.replace('/', '-')}.safetensors"
            if not weights.exists():
                write_weights(weights, backbone)
        where = torch.device(args.device), args.precision, args.batch
        yield case, Setting(root, str(weights), SIDES[backbone], benchmark, *where)


def _measure(case: str, setting: Setting, meter: Meter, whole_run: bool) -> list[Row]:
    """The rows of one case."""
    with tempfile.TemporaryDirectory() as output:
        trainer = build_ours(setting, Path(output))
        ours = measure_ours(trainer, meter)
    naive = measure_naive(build_naive(setting, trainer), trainer, meter)
    floors = [
        _seconds(side.operations / meter.throughput(_PRECISIONS[precision]))
        for side, precision in ((naive, setting.naive_precision), (ours, setting.precision))
    ]
    data = trainer.dm.dataset
    train, test = len(data.train_x), len(data.test)
    slow_epoch = math.ceil(train / setting.batch_size) * naive.step
    slow_run = EPOCHS * (slow_epoch + naive.evaluation)
    run = ours.cache + EPOCHS * (ours.epoch + ours.evaluation)
    rows = [
        _row(case, "step", naive.step, ours.step, floors),
        _row(case, f"epoch, {train} images", slow_epoch, ours.epoch, marks=("=", "")),
        _row(case, f"cache, {VIEWS} x {train} + {test} views", None, ours.cache),
        _row(case, f"evaluation, {test} images", naive.evaluation, ours.evaluation),
        _row(case, f"run, {train} + {test} images", slow_run, run, marks=("=", "=")),
        _row(case, "memory of a step", naive.memory, ours.memory, show=_mebibytes),
    ]
    if whole_run:
        with tempfile.TemporaryDirectory() as output:
            seconds = meter.once(lambda: build_ours(setting, Path(output)).train())
        rows.append(_row(case, f"run, measured, {train} + {test} images", None, seconds))
    return rows


def _average_precision(classes: int, size: int, batch_size: int, meter: Meter) -> Row:
    """The row on average precision of `size` test images' scores."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(size, classes, generator=generator)
    targets = (torch.rand(size, classes, generator=generator) < 0.1).float()
    arrays = scores.numpy(), targets.numpy()
    growing_average_precision(*(array[:batch_size] for array in arrays), batch_size)  # imports
    naive = meter.once(lambda: growing_average_precision(*arrays, batch_size))
    inputs = scores.to(meter.device), targets.to(meter.device)
    average_precision(*inputs)
    ours = meter.median(lambda: average_precision(*inputs))
    return _row(f"{classes} classes", f"average precision, {size} images", naive, ours)


def _seconds(value: float) -> str:
    if value < 0.9995:
        return f"{1e3 * value:.3g} ms"
    return f"{value:.3g} s" if value < 600 else f"{value / 60:,.0f} min"


def _mebibytes(value: float) -> str:
    return f"{value / 2**20:,.0f} MiB"


def _row(
    case: str,
    what: str,
    naive: float | None,
    ours: float | None,
    floors: Sequence[str] = ("", ""),
    marks: tuple[str, str] = ("", ""),
    show: Callable[[float], str] = _seconds,
) -> Row:
    """A line of the table."""
    both = zip((naive, ours), marks, strict=True)
    shown = [_UNKNOWN if value is None else mark + show(value) for value, mark in both]
    ratio = f"{naive / ours:,.3g}" if naive and ours else _UNKNOWN
    return (case, what, *shown, ratio, *floors)


if __name__ == "__main__":
    main()
