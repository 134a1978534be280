"""The cost model: its fits, and what follows from them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from scripts.scale.measure_ranks import HEADER
from scripts.scale.model import (
    JOBS,
    Exchange,
    Rates,
    beside,
    duration,
    fit_line,
    forecast,
    main,
    rates_of,
    read_measured,
)

RATES = Rates(0.01, 2e-4, 0.003, Exchange(1e-3, 1e8), Exchange(2e-3, 5e7))


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """What measure_ranks.py would print on a machine of two cores with just these rates."""
    rows: list[tuple[object, ...]] = []
    for ranks in (1, 2):
        rows.append(("encode", "tiny", ranks, 100, 0, 0, 100 * RATES.picture / ranks))
        for classes in (20, 200, 2000):
            exchanged = RATES.exchanges(10 * classes, 50 * classes) if ranks > 1 else 0
            seconds = RATES.step(classes / ranks) + exchanged
            rows.append(("step", "tiny", ranks, classes, 10 * classes, 50 * classes, seconds))
    for numbers in (1_000, 100_000, 10_000_000):
        rows.append(("gather", "tiny", 2, numbers, numbers, 0, RATES.gather.seconds(4 * numbers)))
        rows.append(("average", "tiny", 2, numbers, 0, numbers, RATES.average.seconds(4 * numbers)))
    path = tmp_path / "ranks.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return path


def test_rates_are_found_again(measured: Path) -> None:
    found = rates_of(read_measured(measured), 2)
    assert (found.start, found.prompt, found.picture) == pytest.approx(
        (RATES.start, RATES.prompt, RATES.picture)
    )
    for one, other in ((found.gather, RATES.gather), (found.average, RATES.average)):
        assert (one.latency, one.bandwidth) == pytest.approx((other.latency, other.bandwidth))


def test_the_model_meets_what_it_was_made_of(measured: Path) -> None:
    rows = beside(read_measured(measured), cores=2)
    assert [(row["what"], row["size"]) for row in rows] == [
        ("encode", 100),
        *(("step", classes) for classes in (20, 200, 2000)),
    ]
    for row in rows:
        assert row["model (s)"] == pytest.approx(row["measured (s)"])
    assert rows[0]["efficiency"] == pytest.approx(1)


def test_more_ranks_than_cores_save_nothing_more(measured: Path) -> None:
    (row, *_) = beside(read_measured(measured), cores=1)
    assert row["model (s)"] == pytest.approx(100 * RATES.picture)


def test_lines_have_no_negative_parts() -> None:
    assert fit_line([(1, 3), (2, 5), (4, 9)]) == pytest.approx((1, 2))
    assert fit_line([(1, 1), (2, 4)]) == pytest.approx((0, 1.5))
    assert fit_line([(1, 4), (2, 2)]) == pytest.approx((3, 0))


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_devices_help_and_never_more_than_their_number(job) -> None:
    rows = forecast(job, RATES)
    efficiencies = [float(row["efficiency"].rstrip("%")) for row in rows]
    assert efficiencies == sorted(efficiencies, reverse=True)
    assert 0 < efficiencies[-1] <= efficiencies[0] == 100


def test_durations() -> None:
    seconds = (0.0016, 0.081, 2.5, 90, 2000, 50000)
    assert [*map(duration, seconds)] == ["1.6 ms", "81 ms", "2.5 s", "90 s", "33 min", "13.9 h"]


def test_the_command(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(measured)])
    assert "efficiency" in capsys.readouterr().out
    main([])
    assert "100 million x 10,000" in capsys.readouterr().out
