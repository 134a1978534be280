"""Predictions as text: a table to read, JSON or CSV to go on with."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from tabulate import tabulate

from prediction.predictor import Prediction

FORMATS = ("table", "json", "csv")
_DIGITS = 6  # significant ones of a score


def as_text(predictions: Sequence[Prediction], form: str) -> str:
    """Predictions in one of `FORMATS`, with a line break at the end.

    - table: a row for each picture, with the chosen labels and their scores.
    - json: a list of `{path, scores: {class: score}, labels, error}`, a line for each picture;
      `scores` is empty and `error` is no longer null where a picture cannot be read.
    - csv: path, labels (separated by semicolons), error, and a column for each class.
    """
    return {"table": _table, "json": _json, "csv": _csv}[form](predictions)


def _table(predictions: Sequence[Prediction]) -> str:
    rows = [(_encodable(p.path), p.error or _labels(p)) for p in predictions]
    return tabulate(rows, headers=["picture", "labels"], disable_numparse=True) + "\n"


def _labels(prediction: Prediction) -> str:
    scores = prediction.scores
    return ", ".join(f"{label} {scores[label]:.3f}" for label in prediction.labels) or "-"


def _json(predictions: Sequence[Prediction]) -> str:
    return "[\n" + ",\n".join(map(_json_line, predictions)) + "\n]\n"


def _json_line(prediction: Prediction) -> str:
    entry = {
        "path": prediction.path,
        "scores": {name: _rounded(score) for name, score in prediction.scores.items()},
        "labels": prediction.labels,
        "error": prediction.error or None,
    }
    # A path that is no UTF-8 can be written escaped alone; other texts stay readable.
    escaped = _encodable(prediction.path) != prediction.path
    return json.dumps(entry, ensure_ascii=escaped, allow_nan=False)


def _csv(predictions: Sequence[Prediction]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    classnames = predictions[0].classnames if predictions else ()
    writer.writerow(["path", "labels", "error", *classnames])
    for p in predictions:
        scores = [_rounded(score) for score in p.scores.values()] or [""] * len(classnames)
        writer.writerow([_encodable(p.path), ";".join(p.labels), _encodable(p.error), *scores])
    return buffer.getvalue()


def _rounded(score: float) -> float:
    return float(f"{score:.{_DIGITS}g}")


def _encodable(text: str) -> str:
    """A text that UTF-8 can hold: bytes of a file name that it cannot are written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
