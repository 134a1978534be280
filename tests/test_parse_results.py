from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "parse_results.py"


def write(folder: Path, trainer: str, seed: int, value: float) -> None:
    keys = ("dataset", "backbone", "split", "score", "selection")
    row = {"name": "cat", "train_count": 5, "group": "tail", "positives": 3, "AP": value}
    result = dict.fromkeys(keys, "x") | {"trainer": trainer, "seed": seed, "per_class": [row]}
    result |= {"metrics": {"mAP": value, "mAP_tail": value}}
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(result))


def parse(*words: object) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")


def test_table_and_plot_from_any_folder(tmp_path):
    write(tmp_path / "LMPT" / "seed1", "LMPT", 1, 50)
    write(tmp_path / "LMPT" / "seed2", "LMPT", 2, 52)
    done = parse(tmp_path, "--format", "markdown", "--plot", tmp_path / "ap.png")
    assert done.returncode == 0, done.stderr
    assert "51.00 ± 1.41" in done.stdout
    assert (tmp_path / "ap.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_there_is_said(tmp_path):
    done = parse(tmp_path)
    assert done.returncode == 2 and "no results.json" in done.stderr
