"""Write results.json after an evaluation."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dassl
import numpy as np
import torch
import torchvision
from dassl.evaluation import EvaluatorBase

from common.files import write_text
from compat.bootstrap import ensure_dassl
from evaluation.evaluator import MultiLabelLongTail

__all__ = ["write_results"]


def write_results(
    path: str | Path,
    *,
    trainer: str,
    dataset: str,
    backbone: str,
    seed: int,
    split: str,
    epoch: int | None,
    selection: str,
    evaluator: EvaluatorBase,
    metrics: Mapping[str, float],
    config_text: str,
    seconds: float | None = None,
    spent: Mapping[str, float] | None = None,
    origin: Mapping[str, Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
    extra_versions: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write results.json after an evaluation; whole or not at all.

    Args:
        path: file to write; missing folders are made.
        trainer: registered name, as are `dataset` and `backbone`.
        dataset: see `trainer`.
        backbone: see `trainer`.
        seed: seed of the run.
        split: evaluated split, e.g. "test".
        epoch: number of epochs the evaluated weights were trained for; None if unknown.
        selection: how these weights were chosen: "last_step", "best_val", "best_test", "epoch_<N>"
            (asked for by number), or "unknown".
        evaluator: any of Dassl's; MultiLabelLongTail adds the classes, the score and the threshold,
            and where chosen thresholds come from if it has some.
        metrics: what `evaluator.evaluate()` returned.
        config_text: the whole config; only its SHA256 is written.
        seconds: wall-clock time of the whole run, interruptions left out; None if unknown.
        spent: seconds of its parts, "caching" (decoding and encoding once) and "training".
        origin: of `provenance.provenance`; its keys are written beside the others.
        recipe: how the recipe was chosen, of `recipe_choice`; left out if empty.
        extra_versions: more libraries to name beside python, torch, torchvision, numpy and dassl.

    Returns:
        What was written. Undefined numbers are None, null in the file.

    Raises:
        ValueError: there are no metrics.
    """
    if not metrics:
        raise ValueError("expected metrics to write, got none; call evaluator.evaluate() first")
    ranks = isinstance(evaluator, MultiLabelLongTail)
    results = {
        "trainer": trainer,
        "dataset": dataset,
        "backbone": backbone,
        "seed": seed,
        "split": split,
        "score": evaluator.score if ranks else None,
        "epoch": epoch,
        "selection": selection,
        "seconds": seconds,
        "seconds_spent": dict(spent or {}),
        "threshold": (
            {"value": evaluator.threshold, "of": evaluator.threshold_space} if ranks else None
        ),
        "metrics": dict(metrics),
        "per_class": evaluator.per_class if ranks else [],
        **(origin or {}),
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
    if recipe:
        results["recipe"] = dict(recipe)
    if ranks and evaluator.chosen is not None:
        chosen = evaluator.chosen
        results["chosen_thresholds"] = {"origin": asdict(chosen.origin), **chosen.rule}
    results = _finite(results)
    text = json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text)
    return results


def _finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Replace NaN and infinities, which JSON does not know, by None."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
