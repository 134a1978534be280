"""Write results.json after an evaluation."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
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

__all__ = ["EvaluatedRun", "write_results"]


@dataclass(frozen=True)
class EvaluatedRun:
    """What was evaluated, under the keys of results.json.

    Attributes:
        trainer: registered name, as are `dataset` and `backbone`.
        dataset: see `trainer`.
        backbone: see `trainer`.
        seed: of the run.
        split: that was evaluated, e.g. "test".
        epoch: epochs of training behind the weights; None if unknown.
        selection: how these weights were chosen: "last_step", "best_val", "best_test", "epoch_<N>"
            (asked for by number), or "unknown".
        seconds: wall-clock time of the whole run, interruptions left out; None if unknown.
        seconds_spent: of its parts, "caching" (decoding and encoding once) and "training".
    """

    trainer: str
    dataset: str
    backbone: str
    seed: int
    split: str
    epoch: int | None
    selection: str
    seconds: float | None = None
    seconds_spent: Mapping[str, float] | None = None


def write_results(
    path: str | Path,
    run: EvaluatedRun,
    evaluator: EvaluatorBase,
    metrics: Mapping[str, float],
    config_text: str,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write results.json after an evaluation; whole or not at all.

    Args:
        path: file to write; missing folders are made.
        run: what was evaluated.
        evaluator: any of Dassl's; MultiLabelLongTail adds the classes, the score and the threshold,
            and where chosen thresholds come from if it has some.
        metrics: what `evaluator.evaluate()` returned.
        config_text: the whole config; only its SHA256 is written.
        more: further keys, such as those of `provenance`.

    Returns:
        What was written. Undefined numbers are None, null in the file.

    Raises:
        ValueError: there are no metrics.
    """
    if not metrics:
        raise ValueError("expected metrics to write, got none; call evaluator.evaluate() first")
    results = _finite(
        {
            **asdict(run),
            "seconds_spent": dict(run.seconds_spent or {}),
            "metrics": dict(metrics),
            **_ranking(evaluator),
            "config_sha256": hashlib.sha256(config_text.encode()).hexdigest(),
            "versions": _versions(),
            **(more or {}),
        }
    )
    text = json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text)
    return results


def _ranking(evaluator: EvaluatorBase) -> dict[str, Any]:
    """How scores were ranked and decided upon; None and empty for other evaluators than ours."""
    if not isinstance(evaluator, MultiLabelLongTail):
        return {"score": None, "threshold": None, "per_class": []}
    facts = {
        "score": evaluator.score,
        "threshold": {"value": evaluator.threshold, "of": evaluator.threshold_space},
        "per_class": evaluator.per_class,
    }
    if evaluator.link is not None:
        facts["link"] = evaluator.link._asdict()
    if evaluator.chosen is not None:
        chosen = evaluator.chosen
        facts["chosen_thresholds"] = {"origin": asdict(chosen.origin), **chosen.rule}
    return facts


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
        "numpy": np.__version__,
        "dassl": f"{dassl.__version__} ({ensure_dassl()})",
    }


def _finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Replace NaN and infinities, which JSON does not know, by None."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
