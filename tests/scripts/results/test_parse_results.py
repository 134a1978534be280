from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.parse_results import main
from tests.helpers.runs.scored_runs import write_run

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "parse_results.py"


def write(folder: Path, trainer: str, seed: int, value: float) -> None:
    keys = ("dataset", "backbone", "split", "score", "selection")
    row = {"name": "cat", "train_count": 5, "group": "tail", "positives": 3, "AP": value}
    result = dict.fromkeys(keys, "x") | {"trainer": trainer, "seed": seed, "per_class": [row]}
    result |= {"metrics": {"mAP": value, "mAP_tail": value}}
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(result))


@pytest.fixture
def runs(tmp_path):
    write(tmp_path / "LMPT" / "seed1", "LMPT", 1, 50)
    write(tmp_path / "LMPT" / "seed2", "LMPT", 2, 52)
    return str(tmp_path)


def test_table_and_plot_from_any_folder(runs, tmp_path):
    words = [runs, "--format", "markdown", "--plot", str(tmp_path / "ap.png")]
    command = [sys.executable, str(SCRIPT), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    assert "51.00 ± 1.41" in done.stdout
    assert (tmp_path / "ap.png").read_bytes().startswith(b"\x89PNG")


def test_intervals_in_place_of_deviations(runs, capsys):
    main([runs, "--ci95"])
    assert "51.00 ± 12.71" in capsys.readouterr().out


def test_a_row_for_each_class(runs, capsys):
    main([runs, "--per-class", "--format", "csv"])
    assert capsys.readouterr().out.splitlines()[1] == "cat,tail,5,51.00,1.41,12.71"


def test_chosen_metrics(runs, capsys):
    main([runs, "--metrics", "mAP_tail"])
    header = capsys.readouterr().out.splitlines()[2]
    assert header.split() == ["trainer", "seeds", "mAP_tail"]


def test_groups_of_another_run(runs, tmp_path, capsys):
    write(tmp_path / "other" / "seed1", "CoOp", 1, 10)
    path = tmp_path / "other/seed1/results.json"
    path.write_text(path.read_text().replace('"tail"', '"head"'))
    main([f"{runs}/LMPT", "--groups-of", str(path), "--format", "csv"])
    row = next(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert (row["all"], row["head"], row["tail"]) == ("51.00", "51.00", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--per-class", "--metrics", "mAP"], "leave out --metrics"),
        (["--metrics", "F2"], "metrics must be among mAP, mAP_tail, got F2"),
        (["--columns", "mAP,mAP_tial"], "Did you mean 'mAP_tail'"),
        (["--rows", "LMTP"], "Did you mean 'LMPT'"),
        (["--best", "bold"], "bold needs the format markdown"),
        (["--against", "CoOp"], "must be one of LMPT, got 'CoOp'"),
        (["--against", "LMPT", "--published"], "--against and --published are tables of their own"),
        (["--published", "--per-class"], "--published and --per-class are tables of their own"),
        (["--against", "LMPT", "--best", "bold"], "--against has columns of its own"),
        (["--plot-differences", "a.png"], "need --against NAME"),
        (["--resamples", "500"], "need --against NAME"),
        (["--against", "LMPT", "--resamples", "5"], "--resamples must be 100 or more, got 5"),
        (
            ["--published"],
            "published figures are of VOC-LT, COCO-LT, VOC07, COCO14, NUS-WIDE, runs of x",
        ),
        (["/nowhere"], "No such file"),
    ],
)
def test_wrong_words_are_refused(words, message, runs, capsys):
    with pytest.raises(SystemExit) as stop:
        main([runs, *words] if words[0].startswith("--") else words)
    assert stop.value.code == 2 and message in capsys.readouterr().err


def test_chosen_rows_and_columns(runs, capsys):
    write(Path(runs) / "CoOp" / "seed1", "CoOp", 1, 60)
    words = ["--rows", "CoOp,LMPT", "--columns", "mAP_tail", "--best", "bold"]
    main([runs, *words, "--format", "markdown"])
    _, _, header, _, coop, lmpt = capsys.readouterr().out.splitlines()[:6]
    assert "mAP_tail" in header and "all" not in header
    assert "CoOp" in coop and "**60.00**" in coop and "LMPT" in lmpt and "**" not in lmpt


def test_data_sets_side_by_side(runs, capsys):
    main([runs, "--side-by-side"])
    assert "x all" in capsys.readouterr().out


def test_differences_and_their_plot(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    for trainer, strength in (("CoOp", 0.5), ("LMPT", 3.0)):
        for seed in (1, 2):
            folder = tmp_path / trainer / "tiny" / f"seed{seed}"
            write_run(folder, trainer, seed, strength)
    words = [str(tmp_path), "--against", "CoOp", "--resamples", "200", "--format", "csv"]
    main([*words, "--plot-differences", str(tmp_path / "d.png")])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out.rstrip())))
    assert {(row["method"], row["against"]) for row in rows} == {("LMPT", "CoOp")}
    assert all(float(row["images_low"]) > 0 for row in rows if row["classes"] == "all")
    assert (tmp_path / "d.png").read_bytes().startswith(b"\x89PNG")
    main([*words, "--per-class"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out.rstrip())))
    assert [row["class"] for row in rows] == ["cat", "dog", "owl", "emu", "yak"]


def test_nothing_there_is_said(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "no results.json" in capsys.readouterr().err
