from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.parse_results import main

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "parse_results.py"


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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--per-class", "--metrics", "mAP"], "leave out --metrics"),
        (["--metrics", "F2"], "metrics must be among mAP, mAP_tail, got F2"),
        (["/nowhere"], "No such file"),
    ],
)
def test_wrong_words_are_refused(words, message, runs, capsys):
    with pytest.raises(SystemExit) as stop:
        main([runs, *words] if words[0].startswith("--") else words)
    assert stop.value.code == 2 and message in capsys.readouterr().err


def test_nothing_there_is_said(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "no results.json" in capsys.readouterr().err
