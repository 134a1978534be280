from __future__ import annotations

import csv
import statistics

import pytest

from reporting.confusion import confusion
from reporting.methods import read_methods
from reporting.tables import (
    class_rows,
    method_rows,
    reference,
    write_classes,
    write_confusion,
    write_runs,
)
from tests.helpers.runs.saved_runs import made_scores, write_run

NAMES = ["cat", "a,b", "tv", "owl"]


@pytest.fixture
def methods(tmp_path):
    for trainer, seed in (("CoOp", 1), ("CoOp", 2), ("ZeroshotCLIP", 1)):
        logits, targets = made_scores(20, 4, seed)
        targets[:, 3] = 0  # no positives
        paths = [f"{i}.jpg" for i in range(20)]
        write_run(tmp_path / trainer / f"seed{seed}", NAMES, logits, targets, paths, trainer, seed)
    return read_methods([tmp_path])


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_cells_are_those_of_the_results(methods, tmp_path):
    write_runs(tmp_path / "runs.csv", methods)
    runs = [run for method in methods for run in method.runs]
    for row, run in zip(read(tmp_path / "runs.csv"), runs, strict=True):
        assert float(row["all"]) == run["metrics"]["mAP"]
        assert float(row["tail"]) == run["metrics"]["mAP_tail"]
        assert (row["trainer"], int(row["seed"])) == (run["trainer"], run["seed"])
    write_classes(tmp_path / "classes.csv", methods)
    first, second, zero_shot = ([row["AP"] for row in run["per_class"]] for run in runs)
    rows = read(tmp_path / "classes.csv")
    assert [row["class"] for row in rows] == NAMES
    coop, other = (method.label for method in methods)
    for c, row in enumerate(rows[:3]):
        mean = statistics.mean((first[c], second[c]))
        assert float(row[f"AP {coop}"]) == pytest.approx(mean)
        assert float(row[f"deviation {coop}"]) == statistics.stdev((first[c], second[c]))
        assert float(row[f"AP {other}"]) == zero_shot[c]
        assert float(row[f"{other} - {coop}"]) == pytest.approx(zero_shot[c] - mean)
    assert rows[3][f"AP {coop}"] == rows[3][f"{other} - {coop}"] == ""


def test_rows_of_the_page(methods):
    assert reference(methods) == 1
    assert reference(methods[:1]) == 0
    coop, zero_shot = method_rows(methods)
    aps = [run["metrics"]["mAP"] for run in methods[0].runs]
    expected = f"{statistics.mean(aps):.2f} ± {statistics.stdev(aps):.2f}"
    assert coop["metrics"]["all"] == expected
    assert (coop["seeds"], zero_shot["seeds"], coop["seconds"]) == ([1, 2], [1], 12.5)
    counts = [row.train_count for row in class_rows(methods)]
    assert counts == sorted(counts, reverse=True)


def test_confusions_of_all_pairs(methods, tmp_path):
    found = confusion(methods[0].ranking.scores, methods[0].ranking.targets)
    write_confusion(tmp_path / "confusion.csv", found, NAMES)
    rows = read(tmp_path / "confusion.csv")
    assert len(rows) == 9  # nothing is present with the class that never is
    for row in rows:
        a, b = NAMES.index(row["present"]), NAMES.index(row["absent"])
        assert float(row["level"]) == found.level[a, b].item()
        assert int(row["images"]) == found.images[a, b]
