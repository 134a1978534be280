"""The table of sizes, on the smallest ones."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "scale" / "measure.py"


def test_every_case_has_its_line(tmp_path):
    table = tmp_path / "scale.csv"
    words = [sys.executable, str(SCRIPT), str(table), "--rows", "300", "--classes", "20"]
    subprocess.run(words, check=True, capture_output=True, timeout=300)
    rows = list(csv.DictReader(table.open()))
    assert [row["what"] for row in rows] == [
        "read a list",
        *("write features", "open features (in memory)", "200 batches (in memory)"),
        *("open features (mapped)", "200 batches (mapped)"),
        *("rank by logit", "rank by softmax"),
    ]
    assert all(float(row["seconds"]) >= 0 and float(row["peak_mb"]) >= 0 for row in rows)
