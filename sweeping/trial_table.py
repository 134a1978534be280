"""trials.csv: every trial of a sweep that has ended, one row each."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from common.files import write_text
from sweeping.trials import Outcome

_COLUMNS = ("trainer", "trial", "state", "mAP", "chosen", "error")


def write_trials(
    path: Path, outcomes: Mapping[str, Sequence[Outcome]], chosen: Mapping[str, int]
) -> None:
    """Write the table, whole or not at all.

    Times are left to each run's results.json: the table is a function of the sweep's rules alone.

    Args:
        path: the file.
        outcomes: trials by method.
        chosen: number of the chosen trial by method, where there is one.
    """
    keys = dict.fromkeys(key for rows in outcomes.values() for row in rows for key in row.setting)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [*_COLUMNS, *keys], lineterminator="\n")
    writer.writeheader()
    for trainer, rows in outcomes.items():
        for row in rows:
            writer.writerow(
                {
                    "trainer": trainer,
                    "trial": row.number,
                    "state": row.state,
                    "mAP": "" if row.value is None else f"{row.value:.4f}",
                    "chosen": "yes" if chosen.get(trainer) == row.number else "",
                    "error": row.error,
                    **row.setting,
                }
            )
    write_text(path, buffer.getvalue())
