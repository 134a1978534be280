from __future__ import annotations

import csv
import io

import pytest

from evaluation.comparing.comparison import Comparison
from evaluation.comparing.comparison_tables import class_difference_table, difference_table
from evaluation.comparing.difference_intervals import Interval, Uncertainty

ROWS = [
    {"name": "cup", "group": "tail", "train_count": 5, "positives": 9},
    {"name": "person", "group": "head", "train_count": 775, "positives": 80},
    {"name": "emu", "group": "tail", "train_count": 4, "positives": 0},
]


def found(mean, p=0.5, seeds=True):
    several = Interval(mean - 1, mean + 1) if seeds else None
    images, both = Interval(mean - 2, mean + 2), Interval(mean - 3, mean + 3) if seeds else None
    return Uncertainty(mean, 0.25 if seeds else None, several, images, both, p, 100)


def comparison(method="LMPT", seeds=(1, 2), **changes):
    many = len(seeds) > 1
    facts = {
        "method": method,
        "against": "CoOp",
        "dataset": "ShapesLT",
        "split": "test",
        "score": "softmax",
        "seeds": seeds,
        "images": 1100,
        "own_images": False,
        "resamples": 100,
        "rows": ROWS,
        "groups": {
            "logit": {"all": found(1.0, seeds=many), "tail": None},
            "softmax": {"all": found(-1.0, seeds=many), "tail": found(0.0, seeds=many)},
        },
        "classes": {
            "logit": [found(9.0), found(9.0), None],
            "softmax": [found(4.0, 0.001, many), found(-3.0, 0.04, many), None],
        },
    }
    return Comparison(**facts | changes)


def cells(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_groups_in_both_score_spaces():
    table = difference_table([comparison()], "markdown")
    caption, _, header, _, *rows = cells(table)
    assert caption[0].startswith(
        "differences, dataset ShapesLT, split test, against CoOp, images 1,100, seeds 1, 2; points"
    )
    assert "(100 resamples)" in caption[0]
    drawn = difference_table([comparison(own_images=True)], "markdown")
    assert "images 1,100 (other ones for each seed, so that its interval is over both)" in drawn
    assert header == "method score classes seeds difference seeds images both".split()
    assert rows[0] == [
        *("LMPT", "logit", "all", "2", "+1.00 ± 0.25"),
        *("+0.00 to +2.00", "-1.00 to +3.00", "-2.00 to +4.00"),
    ]
    assert rows[1] == ["LMPT", "logit", "tail", "2", "-", "-", "-", "-"]
    assert [row[1:3] for row in rows[2:]] == [["softmax", "all"], ["softmax", "tail"]]


def test_a_single_seed_has_an_interval_over_images_alone():
    row = cells(difference_table([comparison(seeds=(7,))], "markdown"))[4]
    assert row[3:] == ["1", "+1.00", "-", "-1.00 to +3.00", "-"]
    table = class_difference_table([comparison(seeds=(7,))])
    assert "95% intervals over images (100 resamples)" in table
    assert "-5.00 to -1.00" in table


def test_classes_by_frequency_in_the_runs_own_space_with_holms_correction():
    caption, _, header, _, *rows = cells(class_difference_table([comparison()], "markdown"))
    assert "softmax scores; 95% intervals over seeds and images" in caption[0]
    assert header[1:5] == ["class", "group", "train", "positives"]
    assert [row[1] for row in rows] == ["person", "cup", "emu"]
    assert rows[0][5:] == ["-3.00 ± 0.25", "-6.00 to +0.00", "0.0400", "0.0400*"]
    assert rows[1][5:] == ["+4.00 ± 0.25", "+1.00 to +7.00", "0.0010", "0.0020*"]  # twice 0.001
    assert rows[2][5:] == ["-", "-", "-", "-"]


def test_places_that_differ_are_columns():
    table = difference_table([comparison(), comparison(dataset="VOCLT")], "markdown")
    caption, _, header, *_ = cells(table)
    assert header[:2] == ["dataset", "method"] and "ShapesLT" not in caption[0]


def test_csv_has_a_number_in_each_cell():
    row, undefined, *_ = csv.DictReader(io.StringIO(difference_table([comparison()], "csv")))
    assert (row["method"], row["against"], row["seeds"], row["score"]) == (
        *("LMPT", "CoOp", "2", "logit"),
    )
    assert (row["difference"], row["both_low"], row["both_high"]) == ("1.00", "-2.00", "4.00")
    assert row["p"] == "0.5" and undefined["difference"] == undefined["p"] == ""
    rows = list(csv.DictReader(io.StringIO(class_difference_table([comparison()], "csv"))))
    assert [(row["class"], row["p"], row["p_holm"]) for row in rows] == [
        *(("person", "0.04", "0.04"), ("cup", "0.001", "0.002"), ("emu", "", "")),
    ]


def test_small_p_and_unknown_formats():
    tiny = comparison(classes={"softmax": [found(4.0, 1e-9), found(3.0, 1e-9), None]})
    assert "<0.0001*" in class_difference_table([tiny])
    for table in (difference_table, class_difference_table):
        with pytest.raises(ValueError, match="format must be one of plain.*got 'html'"):
            table([comparison()], "html")
