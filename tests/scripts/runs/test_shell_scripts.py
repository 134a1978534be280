"""The shell scripts: what they would run, what they skip, what they refuse, and one real run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dassl.engine import TRAINER_REGISTRY

import train
from tests.helpers.idle_training import commands
from tests.helpers.sets.small_set import results, write_set

ROOT = Path(__file__).resolve().parents[3]
MAINS = sorted((ROOT / "scripts").glob("*/main.sh"))
TRAINERS = sorted(
    name
    for name in TRAINER_REGISTRY.registered_names()
    if TRAINER_REGISTRY.get(name).__module__.startswith("trainers.")
)


def finish(folder):
    folder.mkdir(parents=True)
    (folder / "results.json").write_text("{}")


def test_the_two_scripts_of_coops_habit_do_no_more_than_call_compare():
    named = [re.search(r'"\$\{2-\}" (\w+)', path.read_text())[1] for path in MAINS]
    assert sorted(named) == ["CoOp", "LMPT"]
    for path in MAINS:
        assert len(path.read_text().splitlines()) <= 6, f"{path} does more than call compare.sh"


@pytest.mark.parametrize("trainer", TRAINERS)
def test_compare_runs_train_py_in_coops_layout(trainer, script, tmp_path):
    done = script("compare.sh", "voc_lt", "rn50", trainer, DRY_RUN=1)
    found = commands(done)
    seeds = ["1"] if trainer == "ZeroshotCLIP" else ["1", "2", "3"]
    assert [words[5] for words in found] == seeds
    for words, seed in zip(found, seeds, strict=True):
        folder = tmp_path / "out" / "voc_lt" / trainer / "rn50" / f"seed{seed}"
        assert words[1] == str(folder)
        cfg = train.build_cfg(train.build_parser().parse_intermixed_args(words))
        assert (cfg.TRAINER.NAME, cfg.DATASET.NAME) == (trainer, "VOCLT")
        assert cfg.MODEL.BACKBONE.NAME == "RN50" and cfg.DATASET.ROOT == str(tmp_path / "data")


def test_pictures_drawn_for_each_seed_are_seen_by_zero_shot_clip_too(script):
    drawn = ("DATASET.DRAW", "seed")
    done = script("compare.sh", "shapes_lt", "tiny", "ZeroshotCLIP", "2 3", *drawn, DRY_RUN=1)
    assert [words[5] for words in commands(done)] == ["2", "3"]


@pytest.mark.parametrize(
    ("cfg", "flags"),
    [
        ("tiny", ["--backbone", "tiny"]),
        ("vit_b16_paper", ["--backbone", "vit_b16", "--config-file"]),
        ("paper", ["--config-file"]),
    ],
)
def test_cfg_is_a_backbone_a_recipe_or_both(cfg, flags, script):
    words, other = commands(script("compare.sh", "voc_lt", cfg, "LMPT TaIDPT", "1", DRY_RUN=1))
    if "--config-file" in flags:
        flags = [*flags, "configs/trainers/LMPT/paper.yaml"]
    assert words[10:] == flags
    assert other[10:] == [word.replace("LMPT", "TaIDPT") for word in flags]


def test_overrides_reach_train_py_and_the_folder(script):
    words = ("TRAINER.COOP.CTX_INIT", "", "INPUT.SIZE", "(96, 96)", "DATASET.NUM_SHOTS", "16")
    (found,) = commands(script("coop/main.sh", "shapes_lt", "tiny", "0", *words, DRY_RUN=1))
    assert found[-6:] == list(words) and found[5] == "0"
    assert found[1].endswith("/CoOp/tiny_CTX_INIT_SIZE-96--96-_NUM_SHOTS16/seed0")
    (found,) = commands(
        script("coop/main.sh", "shapes_lt", "tiny", "0", *words, DRY_RUN=1, TAG="few shots")
    )
    assert found[1].endswith("/CoOp/tiny_few-shots/seed0")
    (found,) = commands(script("coop/main.sh", "shapes_lt", "tiny", "0", DRY_RUN=1, TAG="x"))
    assert found[1].endswith("/CoOp/tiny_x/seed0")


def test_without_an_environment_paths_are_the_projects(script):
    # A seed that nobody has run here, for finished runs are left out.
    words = ("lmpt/main.sh", "shapes_lt", "tiny", "987654")
    found = commands(script(*words, DRY_RUN=1, OUTPUT="", DATA=""))
    assert found[0][1] == "output/shapes_lt/LMPT/tiny/seed987654"
    assert found[0][found[0].index("--root") + 1] == "data"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["shape_lt", "tiny", "CoOp"], "DATASET must be one of .*Did you mean shapes_lt?"),
        (["shapes_lt", "tinny", "CoOp"], "CFG of CoOp must be one of .*Did you mean tiny?"),
        (["shapes_lt", "tiny", "CoOp lmpt"], "TRAINER must be one of .*Did you mean LMPT?"),
        (["shapes_lt", "tiny", "Q"], r"TRAINER must be one of CPRFL CoCoOp CoOp .*, got Q\.$"),
        (["shapes_lt", "tiny", "CoOp", "1 2", "OPTIM.LR"], "pairs KEY VALUE, got: OPTIM.LR"),
        (["shapes_lt", "tiny", " "], "TRAINERS is empty"),
        (["shapes_lt"], 'expected DATASET CFG "TRAINERS", got 1 words'),
    ],
)
def test_wrong_words_are_refused_before_anything_runs(words, message, script, tmp_path):
    done = script("compare.sh", *words)
    assert done.returncode == 2 and re.search(message, done.stderr, re.MULTILINE)
    assert not (tmp_path / "calls").exists()


def test_finished_runs_are_kept_and_the_others_run(script, tmp_path):
    folder = tmp_path / "out/shapes_lt/CoOp/tiny"
    finish(folder / "seed3")
    found = script("coop/main.sh", "shapes_lt", "tiny", "3 4", DRY_RUN=1)
    assert f"CoOp, seed 3: finished before (remove {folder}/seed3 to run it again)" in found.stdout
    assert [words[5] for words in commands(found)] == ["4"]


def test_compare_ends_with_the_table_of_what_it_ran(script, tmp_path):
    done = script("compare.sh", "shapes_lt", "tiny", "ZeroshotCLIP LMPT CoOp", "1 3")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    table = rows[next(i for i, row in enumerate(rows) if row[:1] == ["trainer"]) :]
    assert table[0] == ["trainer", "seeds", "all", "head", "medium", "tail", "minutes"]
    assert [row[:2] for row in table[2:5]] == [["ZeroshotCLIP", "1"], ["LMPT", "2"], ["CoOp", "2"]]
    assert table[3][2:5] == ["52.00", "±", "1.41"] and table[3][-1] == "1.50"
    assert f"--logdir {tmp_path}/out/shapes_lt" in done.stdout
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 5 and len({line.split()[-1] for line in calls}) == 1  # one process
    again = script("compare.sh", "shapes_lt", "tiny", "ZeroshotCLIP LMPT CoOp", "1 3")
    assert again.stdout.count("finished before") == 5 and "52.00 ± 1.41" in again.stdout


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_failed_run_is_told_and_the_others_go_on(jobs, script, tmp_path):
    done = script("compare.sh", "shapes_lt", "tiny", "CoOp LMPT", "1 2 3", JOBS=jobs)
    assert done.returncode == 2
    assert "out of memory" in done.stderr and "not every run has finished" in done.stderr
    assert len((tmp_path / "calls").read_text().splitlines()) == 6
    assert done.stdout.count("52.00 ± 1.41") == 2
    console = tmp_path / "out/shapes_lt/LMPT/tiny/seed1/console.txt"
    if jobs == 2:  # processes share the cores, and do not write over one another
        threads = max((os.cpu_count() or 1) // 2, 1)
        assert console.read_text() == f"threads: {threads}\n"
    else:
        assert not console.exists() and "threads:" in done.stdout


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_takes_its_process_with_it_stops_no_other(jobs, script, tmp_path):
    done = script("compare.sh", "shapes_lt", "tiny", "CoOp", "1 7 3", JOBS=jobs)
    assert done.returncode == 2 and "CoOp, seed 7: failed (-9)" in done.stderr
    assert len((tmp_path / "calls").read_text().splitlines()) == 3
    assert "52.00 ± 1.41" in done.stdout


def test_no_run_no_table(script):
    done = script("compare.sh", "shapes_lt", "tiny", "CoOp LMPT", "2")
    assert done.returncode == 2 and done.stderr.count("out of memory") == 2
    assert "trainer" not in done.stdout.splitlines() and "±" not in done.stdout


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupt_stops_every_run(jobs, project, tmp_path):
    environment = os.environ | {
        "OUTPUT": str(tmp_path / "out"),
        "PYTHON": sys.executable,
        "CALLS": str(tmp_path / "calls"),
        "JOBS": str(jobs),
    }
    command = ["bash", str(project / "scripts/compare.sh"), "shapes_lt", "tiny", "CoOp", "9 1 9 9"]
    process = subprocess.Popen(
        command,
        env=environment,
        start_new_session=True,  # a process group of its own, as a terminal gives it
        # Tests in the background inherit that interrupts are ignored, which bash would keep to.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    calls = tmp_path / "calls"
    wanted = 3 if jobs == 2 else 1  # with two jobs, one sleeps, one is done, and another sleeps
    deadline = time.time() + 120  # never waited for where it works
    while time.time() < deadline:
        if calls.exists() and len(calls.read_text().splitlines()) >= wanted:
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) != 0
    assert len(calls.read_text().splitlines()) == wanted  # nothing was started after it
    with pytest.raises(ProcessLookupError):  # and nothing of the group is left
        for _ in range(100):
            os.killpg(process.pid, 0)
            time.sleep(0.05)


def test_quickstart_is_a_comparison(script):
    found = commands(script("quickstart.sh", "5", DRY_RUN=1))
    assert [(words[3], words[5]) for words in found] == [
        ("ZeroshotCLIP", "5"),
        ("CoOp", "5"),
        ("LMPT", "5"),
    ]


def test_a_methods_script_says_what_it_lacks(script):
    for words, lacking in (((), "DATASET"), (("voc_lt",), "CFG of CoOp")):
        done = script("coop/main.sh", *words)
        assert done.returncode == 2 and f"error: {lacking} must be one of" in done.stderr


def test_help_is_the_heading_of_the_file(script):
    for name in ("compare.sh", "lmpt/main.sh", "quickstart.sh", "reproduce.sh", "slurm_array.sh"):
        for flag in ("-h", "--help"):
            done = script(name, flag)
            assert done.returncode == 0 and "usage: bash scripts/" in done.stdout
            assert "set -euo" not in done.stdout and "#" not in done.stdout


def test_a_real_run_from_script_to_table(script, tmp_path):
    write_set(tmp_path / "data")
    keys = {
        "DATASET.FOLDER": "mine",
        "MODEL.BACKBONE.NAME": tmp_path / "data/mine/clip.pt",
        "INPUT.SIZE": "(32, 32)",
        "OPTIM.MAX_EPOCH": 1,
        "TRAINER.SAMPLER": "random",
    }
    words = [word for pair in keys.items() for word in pair]
    environment = {"TAG": "quick", "OMP_NUM_THREADS": 1}
    done = script("coop/main.sh", "list_lt", "tiny", "1", *words, project=ROOT, **environment)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "out/list_lt/CoOp/tiny_quick/seed1"
    found = results(folder)
    assert found["epoch"] == 1 and found["seconds"] > 0
    assert f"{found['metrics']['mAP']:.2f}" in done.stdout.splitlines()[-6]
    assert re.search(r"Seconds: \d+ in 1 runs: caching \d+, training \d+", done.stdout)
    assert json.loads((folder / "results.json").read_text()) == found
