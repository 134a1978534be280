"""thresholds.json: thresholds chosen for a model, in its run's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from evaluation.fitted.fitted_files import Fitted, Origin, ScoredModel, fitted_for, write_fitted
from evaluation.fitted.threshold_choice import ChosenThreshold, Criterion

FILE = "thresholds.json"
_COLUMNS = ("log_odds",)


def save_thresholds(
    folder: str | Path,
    origin: Origin,
    classnames: Sequence[str],
    chosen: Sequence[ChosenThreshold],
    criterion: Criterion,
    per_class: bool,
    fewest_positives: int,
) -> Fitted:
    """Write a run's thresholds, over those that may be there.

    Args:
        folder: the run's.
        origin: of the scores.
        classnames: C names.
        chosen: C thresholds.
        criterion: what they were chosen for.
        per_class: whether each class was decided by itself.
        fewest_positives: that it needed for that.

    Returns:
        What was written.
    """
    rows = []
    for name, threshold in zip(classnames, chosen, strict=True):
        odds = torch.tensor(threshold.log_odds, dtype=torch.float64)
        rows.append({"name": name, "probability": float(odds.sigmoid()), **threshold._asdict()})
    rule = {"criterion": str(criterion), "per_class": per_class}
    rule["fewest_positives"] = fewest_positives
    fitted = Fitted(Path(folder, FILE), origin, rule, rows)
    write_fitted(fitted)
    return fitted


def load_thresholds(folder: str | Path, model: ScoredModel) -> Fitted | None:
    """The thresholds ("log_odds") of a run, if it has some for this model; see `fitted_for`."""
    return fitted_for(Path(folder, FILE), _COLUMNS, model)
