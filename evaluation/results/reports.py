"""What runs leave behind: results.json, found and read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.choices import check_choice, spelled
from common.readers.json_files import read_json

__all__ = [
    "RUN_KEYS",
    "Method",
    "load_results",
    "result_files",
    "runs_by_method",
    "select_trainers",
]

Run = Mapping[str, Any]  # a results.json


class Method(NamedTuple):
    """What must agree for runs to be averaged over their seeds; "-" where a run does not say.

    `config` is the folder above seed<k>, or trial<k> of a sweep; the others stand in results.json.
    """

    dataset: str
    backbone: str
    trainer: str
    config: str
    split: str
    score: str
    selection: str


RUN_KEYS = Method._fields


class ResultFiles(NamedTuple):
    """Where an evaluation puts its figures, its scores if asked to, and its TensorBoard files."""

    results: Path
    scores: Path
    training_scores: Path
    tensorboard: Path


def result_files(folder: Path, evaluation: bool) -> ResultFiles:
    """Where results go: an evaluation never overwrites those of a training in the same folder.

    Args:
        folder: OUTPUT_DIR.
        evaluation: whether the weights were loaded, not trained, by this process.
    """
    mark = "_eval" if evaluation and (folder / "config.yaml").is_file() else ""
    return ResultFiles(
        folder / f"results{mark}.json",
        folder / f"scores{mark}.npz",
        folder / f"scores_train{mark}.npz",
        folder / f"tensorboard{mark}",
    )


def load_results(paths: str | Path | Iterable[str | Path]) -> list[dict[str, Any]]:
    """Read results.json files; each result gets its file's name as "path", and its "config".

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
        result = read_json(file)
    except ValueError as error:  # not JSON, or not even text
        raise ValueError(f"{error} Delete it or run again") from error
    needed = {*RUN_KEYS, "seed", "metrics", "per_class"} - {"config"}
    missing = sorted(needed - set(result)) if isinstance(result, dict) else sorted(needed)
    if missing:
        raise ValueError(f"{file} is not a results file of this project: no {', '.join(missing)}")
    return {**result, "config": _config_name(file.absolute().parent), "path": str(file)}


def _config_name(folder: Path) -> str | None:
    """What the layout of the folders says of a run's settings."""
    if re.fullmatch(r"trial\d+", folder.name):
        return folder.name
    return folder.parent.name if re.fullmatch(r"seed\d+", folder.name) else None


def select_trainers(results: Sequence[Run], names: Sequence[str]) -> list[Run]:
    """The results of some trainers, in the order of their names.

    Args:
        results: from `load_results`.
        names: of trainers, in any case.

    Raises:
        ValueError: none of the results is of a trainer of that name.
    """
    known = list(dict.fromkeys(result["trainer"] for result in results))
    names = [spelled(name, known) for name in names]
    for name in names:
        check_choice("a row", name, known)
    return [result for name in names for result in results if result["trainer"] == name]


def runs_by_method(results: Iterable[Run]) -> dict[Method, list[Run]]:
    """Collect the runs that differ in their seed alone.

    Args:
        results: from `load_results`.

    Returns:
        Runs of each method, in the order of the results.

    Raises:
        ValueError: two runs of one method have the same seed.
    """
    runs: dict[Method, dict[int, Run]] = {}
    for result in results:
        method = Method(*("-" if result.get(k) is None else str(result[k]) for k in RUN_KEYS))
        seeds = runs.setdefault(method, {})
        if result["seed"] in seeds:
            both = [str(r.get("path", "?")) for r in (seeds[result["seed"]], result)]
            raise ValueError(
                f"two runs of {result['trainer']} on {result['dataset']} have seed "
                f"{result['seed']}: {both[0]} and {both[1]}; make a table of each"
            )
        seeds[result["seed"]] = result
    return {key: list(seeds.values()) for key, seeds in runs.items()}
