"""scripts/reproduce.sh: what it asks for, what it runs and the table that it ends in."""

from __future__ import annotations

import re
import shlex
import sys

import pytest

from tests.helpers.idle_training import commands
from tests.helpers.sets.small_archives import write_voc


@pytest.fixture
def python(tmp_path):
    """An interpreter to which the needs of runs are there or not, as NEEDS says, at once."""
    path = tmp_path / "python"
    path.write_text(
        '#!/usr/bin/env bash\ncase "$1" in *reproduction_needs.py)\n'
        '    echo "needs of $(grep -c train.py)"\n    exit "$NEEDS" ;;\nesac\n'
        f'exec {shlex.quote(sys.executable)} "$@"\n'
    )
    path.chmod(0o755)
    return path


def test_reproduce_runs_nothing_if_something_is_absent(script, python, tmp_path):
    words, own = ("reproduce.sh", "voc_lt", "rn50"), {"PYTHON": python, "TRAINERS": "LMPT"}
    done = script(*words, NEEDS=1, **own)
    assert done.returncode == 2 and "not all that the runs need is there" in done.stderr
    assert done.stdout == "needs of 5\n"  # the seeds
    for absent in (0, 1):
        done = script(*words, "1 2", "--check", NEEDS=absent, **own)
        assert (done.returncode, done.stdout) == (absent, "needs of 2\n")
    found = commands(script(*words, "4", "OPTIM.LR", "0.1", DRY_RUN=1, NEEDS=1, **own))
    assert [(w[3], w[5], w[-2:]) for w in found] == [("LMPT", "4", ["OPTIM.LR", "0.1"])]
    done = script(*words, NEEDS=0, PYTHON=python, TRAINERS="lmpt")
    assert done.returncode == 2 and "rows are ZeroshotCLIP LMPT CoOp DualCoOp" in done.stderr
    assert not (tmp_path / "calls").exists()


def test_reproduce_ends_with_published_figures_beside_ours(script, tmp_path):
    write_voc(tmp_path / "data")
    words = ("DATASET.MISSING", "skip", "MODEL.BACKBONE.NAME", "tiny", "INPUT.SIZE", "(96, 96)")
    own = {"TRAINERS": "ZeroshotCLIP LMPT", "TAG": "t"}
    done = script("reproduce.sh", "voc_lt", "rn50", "1 3", *words, **own)
    assert done.returncode == 0, done.stderr
    assert "Runs: 3, of which 0 are finished" in done.stdout
    (row,) = (line for line in done.stdout.splitlines() if " 85.44 " in line)
    assert row.split()[:3] == ["VOC-LT", "LMPT", "RN50"] and "82.00 ± 1.41" in row
    assert "rn50_paper_t" in row
    assert len((tmp_path / "calls").read_text().splitlines()) == 3


def test_the_plan_of_a_table_of_other_sets(script, python):
    own = {"TRAINERS": "TaIDPT CoOp", "PYTHON": python, "NEEDS": 1, "DRY_RUN": 1, "TAG": "t"}
    done = script("reproduce.sh", "coco14-few-shot", "rn50", "OPTIM.LR", "0.1", **own)
    found = commands(done)
    assert "needs of 27" in done.stdout and all(w[-2:] == ["OPTIM.LR", "0.1"] for w in found)
    folders = list(dict.fromkeys(w[1].rpartition("/seed")[0].partition("/out/")[2] for w in found))
    novel = "rn50_CLASS_SPLITcoco_novel_16_NUM_SHOTS"
    assert folders == [
        "coco14/TaIDPT/rn50_paper_CLASS_SPLITcoco_novel_16_t",
        "coco14/TaIDPT/rn50_paper_t",
        *(f"coco14/CoOp/{novel}{shots}_t" for shots in (1, 5)),
        *(f"coco14/CoOp/rn50_NUM_SHOTS{shots}_t" for shots in (1, 2, 4, 8, 16)),
    ]
    ensembles = done.stdout.splitlines()[-15:]  # after all runs
    assert all(line.split()[4:6] == ["--weight", "0.4"] for line in ensembles)
    words = ensembles[-1].split()
    places = [word.partition("/out/coco14/")[2] for word in (*words[2:4], words[-1])]
    assert places == [
        "CoOp/rn50_NUM_SHOTS16_t/seed3",
        "TaIDPT/rn50_paper_t/seed3",
        "CoOp+TaIDPT/rn50_NUM_SHOTS16_t/seed3",
    ]


def test_reproduce_goes_on_after_a_failure(script, python, tmp_path):
    words, own = ("reproduce.sh", "voc_lt", "rn50", "1 2"), {"PYTHON": python, "NEEDS": 0}
    done = script(*words, TRAINERS="LMPT CoOp", **own)
    assert done.returncode == 2 and "the same command goes on" in done.stderr
    assert "needs of 4" in done.stdout and " 85.44 " in done.stdout
    calls = [line.split()[3:6:2] for line in (tmp_path / "calls").read_text().splitlines()]
    assert calls == [["LMPT", "1"], ["LMPT", "2"], ["CoOp", "1"], ["CoOp", "2"]]
    assert "needs of 2" in script(*words, "--check", TRAINERS="LMPT CoOp", **own).stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["voc_lt"], "expected TABLE BACKBONE, got 1 words"),
        (["voc_lt", "tiny"], "BACKBONE must be one of rn50, vit_b16, got 'tiny'"),
        (["coco", "rn50"], "TABLE must be one of .* Did you mean 'coco_lt'?"),
        (["voc_lt", "rn50", "1", "OPTIM.LR"], "pairs KEY VALUE"),
    ],
)
def test_reproduce_refuses_wrong_words(words, message, script):
    done = script("reproduce.sh", *words)
    assert done.returncode == 2 and re.search(message, done.stderr)
