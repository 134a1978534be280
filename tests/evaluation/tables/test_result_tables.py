from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evaluation.results.reports import runs_by_method
from evaluation.tables.result_tables import (
    class_table,
    method_labels,
    results_table,
    summarise,
    time_spent,
)
from tests.helpers import small_results

ROOT = Path(__file__).resolve().parents[3]


def make_result(trainer="LMPT", seed=1, mean_ap=80.0, **changes):
    metrics = {"mAP": mean_ap, "mAP_head": mean_ap - 10, "mAP_tail": mean_ap + 5, "CF1": 40.0}
    found = {
        "metrics": metrics,
        "per_class": [
            {"name": "cup", "group": "tail", "train_count": 5, "AP": mean_ap + 1},
            {"name": "person", "group": "head", "train_count": 775, "AP": mean_ap + 2},
            {"name": "ski", "group": "medium", "train_count": 30, "AP": None},
        ],
    }
    return small_results.make_result(trainer, seed, **found | changes)


def single_label(**changes):
    metrics = {"accuracy": 75.0, "error_rate": 25.0, "macro_f1": 70.0}
    return make_result(metrics=metrics, score=None, per_class=[], **changes)


THREE = [make_result(seed=s, mean_ap=ap) for s, ap in ((1, 80.0), (2, 82.0), (3, 87.0))]


def test_rows_are_means_and_deviations_over_seeds():
    table = results_table([*THREE, make_result("CoOp", mean_ap=70.123)])
    caption, _, header, _, lmpt, coop = table.splitlines()
    assert caption == (
        "dataset VOCLT, backbone RN50, split test, score softmax, selection last_step; "
        "percent, mean ± standard deviation over seeds"
    )
    assert header.split() == ["trainer", "seeds", "all", "head", "medium", "tail"]
    # mean 83, sample deviation sqrt((9 + 1 + 16) / 2) = 3.61
    assert lmpt.split() == "LMPT 3 83.00 ± 3.61 73.00 ± 3.61 - 88.00 ± 3.61".split()
    assert coop.split() == "CoOp 1 70.12 60.12 - 75.12".split()


def test_how_recipes_were_chosen_has_a_column_where_a_run_says_it():
    chosen = {"chosen_on": "val", "trials": 24}
    runs = [make_result(recipe=chosen), make_result("CoOp", seconds=90)]
    header, _, lmpt, coop = results_table(runs).splitlines()[2:]
    assert header.split()[-2:] == ["recipe", "minutes"]
    assert lmpt.split()[-4:] == ["val,", "24", "trials", "-"] and coop.split()[-2:] == ["-", "1.50"]
    rows = list(csv.DictReader(io.StringIO(results_table(runs, "csv"))))
    assert [(row["recipe"], row["minutes"]) for row in rows] == [
        ("val, 24 trials", ""),
        ("", "1.50"),
    ]
    assert "recipe" not in results_table(THREE)


def test_intervals_on_request():
    table = results_table(THREE, spread="ci95")
    assert "mean ± half the 95% confidence interval over seeds" in table
    assert "83.00 ± 8.96" in table  # 4.303 * 3.606 / sqrt(3)


@pytest.mark.parametrize("key", ["dataset", "backbone", "config", "split", "score", "selection"])
def test_runs_that_differ_have_rows_and_columns_of_their_own(key):
    other = make_result(seed=2, **{key: "other"})
    assert len(results_table([make_result(), other], "csv").splitlines()) == 3
    caption, _, header, _, *rows = results_table([make_result(), other]).splitlines()
    assert key in header.split() and key not in caption.split()
    assert len(rows) == 2 and "other" in rows[1]


def test_labels_say_what_differs():
    results = [make_result(), make_result("CoOp"), make_result("CoOp", config="tiny")]
    assert method_labels(runs_by_method(results)) == ["LMPT -", "CoOp -", "CoOp tiny"]
    assert method_labels(runs_by_method(results[:2])) == ["LMPT", "CoOp"]


def test_same_seed_twice_is_an_error():
    with pytest.raises(ValueError, match=r"LMPT on VOCLT have seed 1: a/results.json and b/"):
        results_table(
            [make_result(path="a/results.json"), make_result(path="b/results.json", mean_ap=90.0)]
        )


def test_minutes_are_those_of_the_runs_that_were_timed():
    results = [make_result(seed=s, seconds=t) for s, t in ((1, 60.0), (2, None), (3, 120.0))]
    table = results_table([*results, make_result("CoOp")])
    header, _, lmpt, coop = table.splitlines()[2:]
    assert header.split()[-1] == "minutes"
    assert lmpt.split()[-1] == "1.50" and coop.split()[-1] == "-"
    (row, _) = csv.DictReader(io.StringIO(results_table([*results, make_result("CoOp")], "csv")))
    assert row["minutes"] == "1.50"
    assert "minutes" not in results_table(THREE)


def test_single_label_results_have_their_own_columns():
    table = results_table([single_label(seed=1), single_label(seed=2)])
    assert table.splitlines()[2].split() == ["trainer", "seeds", "accuracy", "macro", "F1"]
    assert "75.00 ± 0.00" in table and "score" not in table
    both = results_table([single_label(dataset="Pets"), make_result("CoOp")])
    row = both.splitlines()[4].split()
    assert row == ["Pets", "LMPT", "-", "1", "-", "-", "-", "-", "75.00", "70.00"]


def test_other_evaluators_and_chosen_metrics():
    table = results_table([make_result(metrics={"recall@5": 12.0})])
    assert "recall@5" in table and "12.00" in table
    chosen = results_table(THREE, metrics=["CF1", "mAP"])
    assert chosen.splitlines()[2].split() == ["trainer", "seeds", "CF1", "mAP"]
    with pytest.raises(ValueError, match="among mAP, mAP_head, mAP_tail, CF1, got F2"):
        results_table(THREE, metrics=["F2"])


def test_csv_has_a_number_per_cell():
    results = [make_result(seed=1), make_result(seed=2, mean_ap=82.0), make_result("CoOp")]
    lmpt, coop = csv.DictReader(io.StringIO(results_table(results, "csv")))
    assert (lmpt["trainer"], lmpt["config"], lmpt["seeds"]) == ("LMPT", "-", "2")
    assert (lmpt["all"], lmpt["all_std"], lmpt["medium"]) == ("81.00", "1.41", "")
    assert lmpt["all_ci95"] == "12.71"
    assert (coop["all"], coop["all_std"], coop["all_ci95"]) == ("80.00", "", "")


def test_markdown_and_latex():
    results = [make_result(seed=1), make_result(seed=2, mean_ap=82.0)]
    markdown = results_table(results, "markdown").splitlines()
    assert markdown[3].startswith("|:--")
    assert "| 81.00 ± 1.41 |" in markdown[4]
    latex = results_table([*results, make_result(selection="best_val")], "latex")
    assert latex.startswith("% dataset VOCLT") and r"\toprule" in latex
    assert r"last\_step" in latex
    assert r"81.00 $\pm$ 1.41" in latex


@pytest.mark.parametrize("fmt", ["plain", "markdown", "csv", "latex"])
def test_two_decimals_always(fmt):
    assert "80.00" in results_table([make_result()], fmt)
    assert "82.00" in class_table([make_result()], fmt)


def test_classes_are_rows_and_methods_columns():
    table = class_table([*THREE, make_result("CoOp", mean_ap=70.0)]).splitlines()
    assert table[0].startswith("average precision, dataset VOCLT, split test; percent, mean ±")
    assert table[2].split() == ["class", "group", "train", "LMPT", "CoOp"]
    assert table[4].split() == "person head 775 85.00 ± 3.61 72.00".split()
    assert table[5].split() == "ski medium 30 - -".split()
    assert table[6].split() == "cup tail 5 84.00 ± 3.61 71.00".split()
    person = next(csv.DictReader(io.StringIO(class_table(THREE, "csv"))))
    assert (person["class"], person["LMPT"], person["LMPT_ci95"]) == ("person", "85.00", "8.96")


def test_classes_must_be_the_same():
    fewer = make_result("CoOp", per_class=make_result()["per_class"][:2])
    for others in ([make_result("CoOp", dataset="COCOLT")], [fewer], [make_result(split="val")]):
        with pytest.raises(ValueError, match="one data set and split, got .*VOCLT"):
            class_table([make_result(), *others])
    with pytest.raises(ValueError, match="multi-label results"):
        class_table([single_label()])


def test_a_summary_is_one_row():
    assert summarise(THREE)["all"] == "83.00 ± 3.61" and summarise(THREE)["medium"] == "-"


@pytest.mark.parametrize("table", [results_table, class_table])
def test_table_errors(table):
    with pytest.raises(ValueError, match="plain, markdown, csv, latex, got 'html'"):
        table([make_result()], "html")
    with pytest.raises(ValueError, match="spread must be one of std, ci95, got 'iqr'"):
        table([make_result()], spread="iqr")
    with pytest.raises(ValueError, match="at least one result"):
        table([])


def test_time_is_split_into_its_parts():
    spent = {"caching": 10.0, "training": 50.0}
    runs = [
        make_result(seed=1, seconds=100.0, seconds_spent=spent),
        make_result(seed=2, seconds=60.0, seconds_spent={"training": 40.0}),
        make_result(seed=3, seconds=None),  # resumed
    ]
    assert time_spent(runs) == "160 in 2 runs: caching 10, training 90, start-up and evaluation 60"
    assert time_spent(runs[2:]) == ""


def test_tables_and_plots_are_made_without_torch():
    """It takes seconds to import, a table takes none."""
    script = "import sys, evaluation.tables.plots, evaluation.tables.result_tables\n"
    script += "sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "LMPT_DASSL": "builtin"}
    command = [sys.executable, "-c", script]
    assert subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0


def test_the_best_of_a_column_is_bold():
    errors = {"error_rate": 10.0}
    worse = make_result("CoOp", mean_ap=79.996, metrics={"mAP": 79.996, "error_rate": 20.0})
    results = [make_result(metrics={"mAP": 80.0, **errors}), worse]
    table = results_table(results, "markdown", metrics=["mAP", "error_rate"], best=True)
    lmpt, coop = (
        [c.strip() for c in line.strip("|").split("|")] for line in table.splitlines()[4:]
    )
    assert lmpt[2:] == ["**80.00**", "**10.00**"]  # of errors the least
    assert coop[2:] == ["**80.00**", "20.00"]  # equal as printed
    alone = results_table(THREE, "markdown", best=True)
    assert "**" not in alone
    for fmt in ("plain", "csv", "latex"):
        with pytest.raises(ValueError, match=f"bold needs the format markdown, got {fmt}"):
            results_table(results, fmt, best=True)


def test_the_best_method_of_a_class_is_bold():
    table = class_table([*THREE, make_result("CoOp", mean_ap=70.0)], "markdown", best=True)
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines()[4:]]
    assert rows[0][3:] == ["**85.00 ± 3.61**", "72.00"]
    assert rows[1][3:] == ["-", "-"]


def test_an_unknown_metric_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="got mAP_tial. Did you mean 'mAP_tail'"):
        results_table(THREE, metrics=["mAP_tial"])
