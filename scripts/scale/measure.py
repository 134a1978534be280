"""Seconds and memory of reading lists, gathering features and ranking scores, by size.

    python scripts/scale/measure.py docs/scale_measured.csv
    python scripts/scale/measure.py scale.csv --rows 1e4 1e5 --classes 20 200

Lists, features and scores are made. Each case runs in a process of its own, with one thread; its
peak is what it takes beyond what Python and the libraries have taken before.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
from tqdm import tqdm

from common.files import write_text
from datasets.files.list_files import read_images
from evaluation.metrics.scored_images import ScoredImages
from loading.cache import feature_files
from loading.cache.feature_cache import FeatureCache, as_index_tensor
from loading.cache.feature_files import Write
from loading.cache.feature_shards import FeatureShards
from loading.samplers import Sample
from modeling.encoders.features import Features

_WIDTH, _BATCH, _BATCHES = 512, 64, 200
_IMAGES = 5000  # of an evaluation, whatever its classes
_COLUMNS = ("what", "rows", "classes", "seconds", "peak_mb", "per_row_us", "cpu")
_MAPPED = ("in memory", "mapped")
_SPACES = ("logit", "softmax")


def main() -> None:
    """Measure, and write a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="csv file to write")
    parser.add_argument("--rows", type=float, nargs="+", default=[1e4, 1e5, 1e6, 1e7], metavar="N")
    parser.add_argument("--classes", type=int, nargs="+", default=[20, 200, 2000, 10_000])
    parser.add_argument("--most-features", type=float, default=1e6, metavar="N", help="on disk")
    args = parser.parse_args()
    rows = [int(number) for number in args.rows]
    cases = [("list", number, classes) for number in rows for classes in args.classes]
    some = [number for number in rows if number <= args.most_features]
    cases += [(what, number, 0) for what in _MAPPED for number in some]
    cases += [("evaluation", _IMAGES, classes) for classes in args.classes]
    lines = [",".join(_COLUMNS)]
    with tempfile.TemporaryDirectory() as folder:
        for what, number, classes in tqdm(cases):
            lines += _measured(Path(folder), what, number, classes)
            write_text(args.table, "\n".join(lines) + "\n")
    print(args.table.read_text(), end="")


def _measured(folder: Path, what: str, rows: int, classes: int) -> Iterator[str]:
    """Lines of the table of one case."""
    context = multiprocessing.get_context("fork")
    for name, seconds, peak in context.Pool(1).apply(_case, (folder, what, rows, classes)):
        values = (name, rows, classes, f"{seconds:.3f}", f"{peak:.0f}")
        yield ",".join(map(str, (*values, f"{1e6 * seconds / rows:.3f}", _cpu())))


def _case(folder: Path, what: str, rows: int, classes: int) -> list[tuple[str, float, float]]:
    torch.set_num_threads(1)
    if what == "list":
        return [_list(folder / "list.txt", rows, classes)]
    if what == "evaluation":
        return _evaluation(rows, classes)
    return _features(folder / f"features {rows}", what, rows)


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of some work, and the megabytes that it takes at its peak."""
    before, start = _peak(), time.perf_counter()
    work()
    return time.perf_counter() - start, _peak() - before


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _list(path: Path, rows: int, classes: int) -> tuple[str, float, float]:
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        for start in range(0, rows, 10_000):
            ids = np.sort(rng.integers(0, classes, (10_000, 3)), axis=1)
            for place, own in enumerate(ids[: rows - start].tolist(), start):
                words = " ".join(map(str, dict.fromkeys(own)))
                file.write(f"images/{place // 1000:05d}/{place:09d}.jpg {words}\n")
    return ("read a list", *_timed(lambda: read_images(path, classes)))


def _features(folder: Path, what: str, rows: int) -> list[tuple[str, float, float]]:
    """Writing shards, opening them, and gathering the batches of training steps."""
    if what == "mapped":
        feature_files.MMAP_FROM_BYTES = 0
    shards = FeatureShards(folder, {"made": "by scripts/scale"}, views=1)
    pictures = np.random.default_rng(0).integers(0, 256, (rows, 16), dtype=np.uint8)

    def encode(places: np.ndarray, write: Write) -> None:
        write(0, 0, Features(torch.rand(len(places), _WIDTH)))

    wrote = _timed(lambda: shards.fill(pictures, encode))
    found = []
    opened = _timed(lambda: found.append(shards.read(pictures, torch.device("cpu"))))
    cache = FeatureCache(found[0], torch.zeros(rows, 1), [""] * rows)
    rng = np.random.default_rng(1)

    def gather() -> None:
        for _ in range(_BATCHES):
            samples = [Sample(int(place)) for place in rng.integers(0, rows, _BATCH)]
            cache.batch(samples, as_index_tensor(samples, torch.device("cpu")))

    gathered = _timed(gather)
    lines = [] if what == "mapped" else [("write features", *wrote)]
    named = [(f"open features ({what})", *opened), (f"{_BATCHES} batches ({what})", *gathered)]
    return lines + named


def _evaluation(rows: int, classes: int) -> list[tuple[str, float, float]]:
    scored, generator = ScoredImages(), torch.Generator().manual_seed(0)
    for _ in range(0, rows, 500):
        logits = torch.randn(500, classes, generator=generator)
        scored.add(logits, (logits > 2.5).float())
    return [(f"rank by {s}", *_timed(lambda s=s: scored.average_precision(s))) for s in _SPACES]


def _cpu() -> str:
    lines = Path("/proc/cpuinfo")
    for line in lines.read_text().splitlines() if lines.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
