"""What a run leaves behind, results.json and scores.npz, and the table many runs add up to."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import dassl
import numpy as np
import torch
import torchvision
from tabulate import tabulate
from torch import Tensor

from compat.bootstrap import ensure_dassl
from evaluation.evaluator import GROUPS, MultiLabelLongTail

__all__ = [
    "load_results",
    "results_table",
    "runs_by_method",
    "save_scores",
    "summarise",
    "write_results",
    "write_whole",
]

# What must agree for runs to be averaged over their seeds, and the columns of a table's left side.
RUN_KEYS = ("dataset", "backbone", "trainer", "split", "score", "selection")
METRICS = {"all": "mAP", **{group: f"mAP_{group}" for group in GROUPS}}
TABLE_FORMATS = {"plain": "simple", "markdown": "pipe", "csv": None, "latex": "latex_booktabs"}


def write_results(
    path: str | Path,
    *,
    trainer: str,
    dataset: str,
    backbone: str,
    seed: int,
    split: str,
    epoch: int,
    selection: str,
    evaluator: MultiLabelLongTail,
    config_text: str,
    extra_versions: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write results.json after ``evaluator.evaluate()``; whole or not at all.

    Args:
        path: file to write; missing folders are made.
        trainer: registered name, as are ``dataset`` and ``backbone``.
        dataset: see ``trainer``.
        backbone: see ``trainer``.
        seed: seed of the run.
        split: evaluated split, e.g. "test".
        epoch: number of epochs the evaluated weights were trained for.
        selection: how these weights were chosen, e.g. "last_step" or "best_val".
        evaluator: holds the metrics.
        config_text: the whole config; only its SHA256 is written.
        extra_versions: more libraries to name beside python, torch, torchvision, numpy and dassl.

    Returns:
        What was written. Undefined numbers are None, null in the file.

    Raises:
        RuntimeError: the evaluator has no metrics yet.
    """
    if not evaluator.metrics:
        raise RuntimeError("expected metrics to write, got none; call evaluator.evaluate() first")
    results = {
        "trainer": trainer,
        "dataset": dataset,
        "backbone": backbone,
        "seed": seed,
        "split": split,
        "score": evaluator.score,
        "epoch": epoch,
        "selection": selection,
        "threshold": {"value": evaluator.threshold, "of": evaluator.threshold_space},
        "metrics": dict(evaluator.metrics),
        "per_class": evaluator.per_class,
        "config_sha256": hashlib.sha256(config_text.encode()).hexdigest(),
        "versions": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "torchvision": str(torchvision.__version__),
            "numpy": np.__version__,
            "dassl": f"{dassl.__version__} ({ensure_dassl()})",
            **(extra_versions or {}),
        },
    }
    results = _finite(results)
    text = json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(path, lambda file: file.write(text.encode()))
    return results


def save_scores(path: str | Path, scores: Tensor, targets: Tensor, paths: Sequence[str]) -> None:
    """Write scores.npz, which ``numpy.load`` reads without unpickling; whole or not at all.

    Args:
        path: file to write; missing folders are made.
        scores: [N, C], stored as float32. Pass ``evaluator.logits``: every score space follows
            from them.
        targets: [N, C], stored as int8.
        paths: N image paths.

    Raises:
        ValueError: shapes or lengths differ.
    """
    if scores.ndim != 2 or scores.shape != targets.shape or len(paths) != len(scores):
        raise ValueError(
            "expected scores [N, C], targets [N, C] and N paths, "
            f"got {list(scores.shape)}, {list(targets.shape)} and {len(paths)}"
        )
    arrays = {
        "scores": scores.detach().float().cpu().numpy(),
        "targets": targets.detach().to(torch.int8).cpu().numpy(),
        "paths": np.array([str(p) for p in paths], dtype=np.str_),
    }
    write_whole(path, lambda file: np.savez(file, **arrays))


def load_results(paths: str | Path | Iterable[str | Path]) -> list[dict[str, Any]]:
    """Read results.json files; each result gets its file's name under "path".

    Args:
        paths: files, or folders that are searched for results.json at any depth.

    Raises:
        FileNotFoundError: a path does not exist, or a folder holds no results.json.
        ValueError: a file is not a results.json.
    """
    paths = [paths] if isinstance(paths, (str, Path)) else paths
    files: dict[Path, None] = {}  # an ordered set
    for path in map(Path, paths):
        found = sorted(path.rglob("results.json")) if path.is_dir() else [path]
        if not found:
            raise FileNotFoundError(
                f"no results.json in {path} or below; has a run finished there?"
            )
        files.update(dict.fromkeys(found))
    return [_load_result(file) for file in files]


def _load_result(file: Path) -> dict[str, Any]:
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # not JSON, or not even text
        raise ValueError(f"{file} is not valid JSON ({error}); delete it or run again") from error
    needed = {*RUN_KEYS, "seed", "metrics", "per_class"}
    missing = sorted(needed - set(result)) if isinstance(result, dict) else sorted(needed)
    if missing:
        raise ValueError(f"{file} is not a results file of this project: no {', '.join(missing)}")
    return {**result, "path": str(file)}


def results_table(results: Sequence[Mapping[str, Any]], fmt: str = "plain") -> str:
    """Tabulate mAP over all, head, medium and tail classes, one row per method.

    Runs that differ in nothing but their seed share a row: mean ± sample standard deviation, or
    the bare value of a single run.

    Args:
        results: from :func:`load_results`.
        fmt: plain, markdown, csv (deviations in columns of their own) or latex (booktabs).

    Raises:
        ValueError: unknown format, no results, or two runs of one row have the same seed.
    """
    if fmt not in TABLE_FORMATS:
        raise ValueError(f"format must be one of {', '.join(TABLE_FORMATS)}, got {fmt!r}")
    if not results:
        raise ValueError("expected at least one result, got none")
    rows = [
        ([*key, len(runs)], [_mean_std(runs, metric) for metric in METRICS.values()])
        for key, runs in sorted(runs_by_method(results).items())
    ]
    if fmt == "csv":
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        columns = [name for metric in METRICS for name in (metric, f"{metric}_std")]
        writer.writerow([*RUN_KEYS, "seeds", *columns])
        for left, pairs in rows:
            numbers = [number for pair in pairs for number in pair]
            writer.writerow(left + ["" if n is None else f"{n:.2f}" for n in numbers])
        return buffer.getvalue()
    table = tabulate(
        [left + [_format_mean_std(*pair) for pair in pairs] for left, pairs in rows],
        headers=[*RUN_KEYS, "seeds", *METRICS],
        tablefmt=TABLE_FORMATS[fmt],
        colalign=["left"] * len(RUN_KEYS) + ["right"] * (1 + len(METRICS)),
        disable_numparse=True,
    )
    return (table.replace("±", r"$\pm$") if fmt == "latex" else table) + "\n"


def summarise(runs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Mean ± sample standard deviation of some runs, over all, head, medium and tail classes."""
    return {name: _format_mean_std(*_mean_std(runs, key)) for name, key in METRICS.items()}


def runs_by_method(results: Iterable[Mapping[str, Any]]) -> dict[tuple, list[Mapping[str, Any]]]:
    """Collect the runs that differ in their seed alone.

    Args:
        results: from :func:`load_results`.

    Returns:
        Runs of each method; a key holds the values of RUN_KEYS.

    Raises:
        ValueError: two runs of one method have the same seed.
    """
    runs: dict[tuple, dict[int, Mapping[str, Any]]] = {}
    for result in results:
        seeds = runs.setdefault(tuple(str(result[key]) for key in RUN_KEYS), {})
        if result["seed"] in seeds:
            both = [str(r.get("path", "?")) for r in (seeds[result["seed"]], result)]
            raise ValueError(
                f"two runs of {result['trainer']} on {result['dataset']} have seed "
                f"{result['seed']}: {both[0]} and {both[1]}; make a table of each"
            )
        seeds[result["seed"]] = result
    return {key: list(seeds.values()) for key, seeds in runs.items()}


def _mean_std(runs: Sequence[Mapping[str, Any]], metric: str) -> tuple[float | None, float | None]:
    values = [run["metrics"].get(metric) for run in runs]
    if None in values:
        return None, None
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None


def _format_mean_std(mean: float | None, std: float | None) -> str:
    if mean is None:
        return "-"
    return f"{mean:.2f}" if std is None else f"{mean:.2f} ± {std:.2f}"


def _finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Replace NaN and infinities, which JSON does not know, by None."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_whole(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Write beside ``path`` and rename, so that readers never meet half a file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            write(file)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
