"""What a large run takes on many devices, computed from rates that were measured or assumed.

    python scripts/scale/model.py docs/scale_ranks.csv   the model beside measurements on CPU cores
    python scripts/scale/model.py                        sets and GPUs that are not at hand

A step that shares C prompts among R ranks takes

    t_0 + C / R * a + gather(4 C D bytes) + average(4 P bytes)

with a the seconds a prompt, t_0 what does not depend on C, P the numbers that are trained, and an
exchange of n bytes latency + n / bandwidth seconds. Encoding shares the pictures and exchanges
nothing. Rates of GPUs (`GPU`) are assumptions, and stand in the output.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tabulate import tabulate

_FLOAT = 4  # bytes
_COUNTS = ("ranks", "size", "gathered", "averaged")  # of a measurement
_VIEWS = 2  # of a training picture


@dataclass(frozen=True)
class Exchange:
    """Seconds of an exchange of n bytes: latency + n / bandwidth.

    Attributes:
        latency: seconds.
        bandwidth: bytes a second.
    """

    latency: float
    bandwidth: float

    def seconds(self, num_bytes: float) -> float:
        """Of one exchange."""
        return self.latency + num_bytes / self.bandwidth


@dataclass(frozen=True)
class Rates:
    """What one rank does in a second, and what exchanges cost.

    Attributes:
        start: t_0, seconds of a step that do not depend on the classes.
        prompt: a, seconds of a step for each prompt, forward and backward.
        picture: seconds to decode and encode one view of a picture.
        gather: of rows.
        average: of gradients.
    """

    start: float
    prompt: float
    picture: float
    gather: Exchange
    average: Exchange

    def exchanges(self, gathered: int, averaged: int) -> float:
        """Seconds of the exchanges of a step, of so many numbers."""
        return self.gather.seconds(_FLOAT * gathered) + self.average.seconds(_FLOAT * averaged)

    def step(self, prompts: float) -> float:
        """Seconds of a step of a rank that encodes so many prompts, without exchanges."""
        return self.start + self.prompt * prompts


# ViT-B/16, 224 pixels: 17.6 GFLOP a picture; a prompt of 21 tokens 1.6 GFLOP forward and as much
# backward, for the weights are frozen. 400 TFLOP/s is 40% of what an H100 is said to do in bf16.
_FLOPS = 4e14
GPU = Rates(
    start=1e-3,
    prompt=3.2e9 / _FLOPS,
    picture=1 / 4000,  # decoding by 16 cores, about 250 a second each, is slower than encoding
    gather=Exchange(5e-5, 4e10),
    average=Exchange(5e-5, 2e10),
)


class Job(NamedTuple):
    """A training on a set; contexts of 16 tokens of 512 numbers for each class."""

    name: str
    images: int
    classes: int
    epochs: int
    batch: int


JOBS = (
    Job("COCO-LT", 1_909, 80, 50, 64),
    Job("100 thousand x 1,000", 100_000, 1_000, 20, 256),
    Job("1 million x 1,000", 1_000_000, 1_000, 10, 1024),
    Job("10 million x 10,000", 10_000_000, 10_000, 2, 4096),
    Job("100 million x 10,000", 100_000_000, 10_000, 1, 4096),
)
_RANKS = (1, 8, 64)
_WIDTH, _CONTEXT, _REGIONS = 512, 16, 196


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("measured", nargs="?", metavar="CSV", help="of measure_ranks.py")
    args = parser.parse_args(arguments)
    if args.measured:
        rows = read_measured(Path(args.measured))
        print(tabulate(beside(rows, os.cpu_count() or 1), "keys", "github", floatfmt=".3g"))
    else:
        print(f"Computed, with {GPU}\n")
        print(tabulate([row for job in JOBS for row in forecast(job)], "keys", "github"))


class Measured(NamedTuple):
    """A row of measure_ranks.py."""

    what: str
    ranks: int
    size: int
    gathered: int
    averaged: int
    seconds: float


def read_measured(path: Path) -> list[Measured]:
    """Rows of a CSV that measure_ranks.py printed."""
    with path.open() as file:
        return [
            Measured(row["what"], *(int(row[name]) for name in _COUNTS), float(row["seconds"]))
            for row in csv.DictReader(file)
        ]


def fit_line(points: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """Offset and slope of a line with the least relative errors, neither below 0.

    Args:
        points: x and y above 0.
    """
    x, y = np.array(sorted(points), dtype=float).T
    slope, offset = np.polyfit(x, y, 1, w=1 / y)
    if offset < 0:
        return 0.0, float((y / x).mean())
    return (float(y.mean()), 0.0) if slope < 0 else (float(offset), float(slope))


def rates_of(measured: Sequence[Measured], ranks: int) -> Rates:
    """Rates of one rank, from rows of one rank, and exchanges of `ranks`."""

    def points(what: str, of: int) -> list[tuple[float, float]]:
        return [(m.size, m.seconds) for m in measured if (m.what, m.ranks) == (what, of)]

    start, prompt = fit_line(points("step", 1))
    exchanges = []
    for what in ("gather", "average"):
        latency, a_number = fit_line(points(what, ranks)) if ranks > 1 else (0.0, 1.0)
        exchanges.append(Exchange(latency, _FLOAT / a_number if a_number else float("inf")))
    ((pictures, seconds),) = points("encode", 1)
    return Rates(start, prompt, seconds / pictures, *exchanges)


def beside(measured: Sequence[Measured], cores: int) -> list[dict[str, object]]:
    """Seconds of the model beside those measured on several ranks, and the efficiency.

    More ranks than `cores` save no more than as many ranks as there are cores.
    """
    alone = {(m.what, m.size): m.seconds for m in measured if m.ranks == 1}
    rows = []
    for m in measured:
        if m.ranks == 1 or m.what not in ("step", "encode"):
            continue
        rates, at_once = rates_of(measured, m.ranks), min(m.ranks, cores)
        if m.what == "encode":
            predicted = rates.picture * m.size / at_once
        else:
            predicted = rates.step(m.size / at_once) + rates.exchanges(m.gathered, m.averaged)
        saved = alone[m.what, m.size] / m.seconds
        rows.append(
            {
                "what": m.what,
                "size": m.size,
                "ranks": m.ranks,
                "measured (s)": m.seconds,
                "model (s)": predicted,
                "times faster": saved,
                "efficiency": saved / at_once,
            }
        )
    return rows


def forecast(job: Job, rates: Rates = GPU) -> list[dict[str, object]]:
    """Hours and bytes of a job on several numbers of GPUs."""
    trained = job.classes * _CONTEXT * _WIDTH
    steps = job.epochs * -(-job.images // job.batch)
    globals_ = job.images * _VIEWS * _WIDTH * _FLOAT
    regions = job.images * _VIEWS * _REGIONS * _WIDTH * 2  # in half precision
    rows, alone = [], 0.0
    for ranks in _RANKS:
        exchanged = rates.exchanges(job.classes * _WIDTH, trained) if ranks > 1 else 0.0
        step = rates.step(job.classes / ranks) + exchanged
        encoding = job.images * _VIEWS * rates.picture / ranks
        total = encoding + steps * step
        alone = alone or total
        rows.append(
            {
                "set": job.name,
                "GPUs": ranks,
                "encoding": duration(encoding),
                "a step": duration(step),
                "of it exchanges": f"{exchanged / step:.0%}",
                "training": duration(steps * step),
                "efficiency": f"{alone / total / ranks:.0%}",
                "features (GB)": f"{globals_ / 1e9:,.1f}",
                "with regions (GB)": f"{regions / 1e9:,.1f}",
            }
        )
    return rows


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them: "81 ms", "2.5 s", "33 min", "14 h"."""
    for limit, factor, unit in ((1, 1000, "ms"), (120, 1, "s"), (7200, 1 / 60, "min")):
        if seconds < limit:
            value = seconds * factor
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    sys.exit(main())
