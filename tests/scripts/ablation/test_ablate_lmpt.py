from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import train
from scripts.ablation.ablate_lmpt import put_between_marks, run_folder, table, variants, words_of
from tests.helpers.idle_training import commands


def test_every_row_is_a_run_of_its_own_that_the_config_accepts():
    seen = set()
    for section, rows in variants().items():
        for title, row in rows.items():
            command = words_of(row, 1, Path("data"), Path("o"))
            cfg = train.build_cfg(train.build_parser().parse_intermixed_args(command))
            key = cfg.dump()
            assert key not in seen, f"{section}/{title} repeats another row"
            seen.add(key)
    folders = {
        run_folder(Path("o"), section, title, 1)
        for section, rows in variants().items()
        for title in rows
    }
    assert len(folders) == len(seen) > 40


def test_the_table_has_mean_and_deviation_of_every_row(tmp_path):
    for section, rows in variants().items():
        for title in rows:
            for seed in (1, 2):
                folder = run_folder(tmp_path, section, title, seed)
                folder.mkdir(parents=True)
                metrics = {"mAP": 50.0 + seed, "mAP_head": 60.0, "mAP_medium": 40.0}
                keys = ("dataset", "backbone", "trainer", "split", "score", "selection")
                result = dict.fromkeys(keys, "x") | {"seed": seed, "per_class": []}
                (folder / "results.json").write_text(json.dumps(result | {"metrics": metrics}))
    text = table(tmp_path, [1, 2], minutes=3.2)
    assert "3 minutes" in text and 'ablate_lmpt.sh "1 2"' in text
    assert "| zero-shot CLIP | 51.50 ± 0.71 | 60.00 ± 0.00 | 40.00 ± 0.00 | - |" in text


def test_prose_around_the_table_stays(tmp_path):
    page = tmp_path / "page.md"
    put_between_marks("first", page)
    page.write_text("before\n" + page.read_text() + "after\n")
    put_between_marks("second", page)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n")
    assert "second" in text and "first" not in text
    page.write_text("no marks")
    with pytest.raises(ValueError, match="table to stand between"):
        put_between_marks("third", page)


def test_its_runs_are_a_list_that_others_can_carry_out(script, tmp_path):
    words = ("--seeds", 3, "--output", "out", "--table", tmp_path / "page.md")
    done = script("ablation/ablate_lmpt.py", *words, DRY_RUN=1, shell=sys.executable)
    found = commands(done)
    assert len(found) == sum(map(len, variants().values())) and not (tmp_path / "out").exists()
    assert {words[5] for words in found} == {"3"}
    assert found[0][1] == f"{tmp_path}/out/References_zero_shot_CLIP/seed3"
