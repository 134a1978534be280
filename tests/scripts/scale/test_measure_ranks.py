"""The measurements of ranks, on one of them."""

from __future__ import annotations

import csv
import io

import pytest

from scripts.scale import measure_ranks


def test_a_rank_prints_rows_for_the_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(measure_ranks, "_PICTURES", 8)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    measure_ranks.main(["--classes", "3", "--seconds", "0"])
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert [row[:4] for row in rows] == [
        ["encode", "tiny", "1", "8"],
        ["step", "tiny", "1", "3"],
        ["step, not shared", "tiny", "1", "3"],
    ]
    assert all(len(row) == len(measure_ranks.HEADER) and float(row[-1]) > 0 for row in rows)
