"""calibration.json: how a model's scores become probabilities, in its run's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from evaluation.fitted.calibration import ScoreCalibration
from evaluation.fitted.fitted_files import Fitted, Origin, ScoredModel, fitted_for, write_fitted

FILE = "calibration.json"
_COLUMNS = ("temperature", "offset")


def save_calibration(
    folder: str | Path,
    origin: Origin,
    classnames: Sequence[str],
    found: Sequence[ScoreCalibration],
    rule: Mapping[str, object],
) -> Fitted:
    """Write a run's calibration, over one that may be there.

    Args:
        folder: the run's.
        origin: of the scores.
        classnames: C names.
        found: C calibrations.
        rule: how they were fitted, and figures before and after, in plain values.

    Returns:
        What was written.
    """
    rows = [{"name": name, **c._asdict()} for name, c in zip(classnames, found, strict=True)]
    fitted = Fitted(Path(folder, FILE), origin, {"criterion": "maximum likelihood", **rule}, rows)
    write_fitted(fitted)
    return fitted


def load_calibration(folder: str | Path, model: ScoredModel) -> Fitted | None:
    """The calibration of a run, if it has one for this model; see `fitted_for`.

    Raises:
        ValueError: the file is damaged, or a temperature is not above 0.
    """
    fitted = fitted_for(Path(folder, FILE), _COLUMNS, model)
    if fitted is not None and not (fitted.column("temperature") > 0).all():
        raise ValueError(
            f"{fitted.path} is damaged (a temperature is not above 0). Make it anew, or delete it."
        )
    return fitted


def calibrated(log_odds: Tensor, calibration: Fitted | None) -> Tensor:
    """Calibrated log-odds [..., C], fp64, of log-odds [..., C]; the same without a calibration."""
    if calibration is None:
        return log_odds
    columns = (calibration.column(name).to(log_odds.device) for name in _COLUMNS)
    temperature, offset = columns
    return log_odds.double() / temperature + offset
