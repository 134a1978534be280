"""The scores behind a results.json: found beside it, and checked against its figures."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from evaluation.metrics.average_precision import average_precision
from evaluation.metrics.output_link import Link
from evaluation.results.saved_scores import SavedScores, load_scores, rank_scores

__all__ = ["link_of", "load_run_scores"]

_SAME_AP = 0.01  # percent; what two devices may differ by


def load_run_scores(run: Mapping[str, Any]) -> SavedScores:
    """Logits and targets that a run's figures come from.

    Args:
        run: from `evaluation.results.reports.load_results`.

    Raises:
        FileNotFoundError: none were saved; the message has the command that saves them.
        ValueError: they are damaged, or of another evaluation, or the run is not one of several
            labels an image.
    """
    results = Path(run["path"])
    own = results.with_name(results.name.replace("results", "scores")).with_suffix(".npz")
    files = [path for path in (own, results.parent / "scores_eval.npz") if path.is_file()]
    folder = str(results.parent)
    words = ["--eval-only", "--model-dir", folder, "--output-dir", folder]
    words += ["TEST.SAVE_SCORES", "test"]
    advice = f"To write scores, run: {shlex.join(['python', 'train.py', *words])}"
    if not run["per_class"]:
        raise ValueError(f"{results} holds no evaluation of several labels an image.")
    if not files:
        raise FileNotFoundError(f"There is no {own.name} in {folder}. {advice}")
    for path in files:
        saved = load_scores(path)
        if _fit(saved, run):
            return saved
    raise ValueError(
        f"{files[0]} gives other figures than {results.name}: it belongs to another evaluation. "
        f"{advice}"
    )


def link_of(run: Mapping[str, Any]) -> Link | None:
    """The output link that a run was evaluated with, if there was one."""
    return Link(**run["link"]) if run.get("link") else None


def _fit(saved: SavedScores, run: Mapping[str, Any]) -> bool:
    """Whether scores give the AP of each class that a run has."""
    rows = run["per_class"]
    if saved.logits.shape[1] != len(rows) or not saved.logits.isfinite().all():
        return False
    ranked = rank_scores(saved.logits, run["score"], link_of(run))
    own = 100 * average_precision(ranked, saved.targets)  # [C]
    written = torch.tensor([math.nan if row["AP"] is None else row["AP"] for row in rows])
    return torch.allclose(own, written.double(), atol=_SAME_AP, rtol=0, equal_nan=True)
