from __future__ import annotations

import csv
from concurrent.futures import ThreadPoolExecutor

import pytest

from evaluation.results.reports import load_results
from evaluation.tables.result_tables import results_table
from sweeping import sweep as sweep_module
from sweeping.claims import try_lock
from sweeping.engine import Engine
from sweeping.sweep import Sweep
from tests.helpers.runs.fake_training import SPACE, fake_training, small_plan

pytest.importorskip("optuna")

HARD = SPACE.replace("0.2", "4")  # of which some diverge and some end their process


@pytest.fixture
def calls(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep_module, "_POLL", 0.02)
    return fake_training(tmp_path / "fake", monkeypatch)


@pytest.fixture
def plan(roots, tmp_path):
    return lambda **more: small_plan(roots["ViT"], tmp_path, **more)


def rows(sweep):
    with open(sweep.table) as file:
        return list(csv.DictReader(file))


def noted(calls):
    return [line.split() for line in calls.read_text().splitlines()]


def test_all_trials_come_before_the_first_look_at_the_test_images(calls, plan):
    sweep = Sweep(plan())
    assert sweep.run() == []
    found = noted(calls)
    assert [(split, folder) for _, folder, split, _ in found] == (
        [("val", f"trial{number}") for number in (0, 1, 2)] * 2
        + [("test", "seed1"), ("test", "seed2")] * 2
    )
    for trainer in ("CoOp", "LMPT"):
        own = [row for row in rows(sweep) if row["trainer"] == trainer]
        best = max(own, key=lambda row: float(row["mAP"]))
        assert [row["trial"] for row in own] == ["0", "1", "2"]
        assert [row for row in own if row["chosen"] == "yes"] == [best]
        tested = [rate for name, _, split, rate in found if (name, split) == (trainer, "test")]
        assert tested == [best["OPTIM.LR"]] * 2
    table = results_table(load_results(sweep.results()))
    assert table.count("val, 3 trials") == 2 and "config chosen" in table
    assert len(load_results(sweep.plan.folder)) == 10  # trials and tests stand in one table
    results_table(load_results(sweep.plan.folder))


def test_a_finished_sweep_runs_nothing_and_says_the_same(calls, plan):
    first = Sweep(plan())
    first.run()
    table, number = first.table.read_text(), len(noted(calls))
    again = Sweep(plan())
    assert again.run() == [] and again.results() == first.results()
    assert again.table.read_text() == table and len(noted(calls)) == number
    alone = Sweep(plan(trainers=("LMPT",)))
    assert alone.run() == [] and alone.table.read_text() == table  # of all methods so far
    with pytest.raises(ValueError, match="chosen among 3 trials, and tested; --trials is 4 now"):
        Sweep(plan(trials=4))


@pytest.mark.parametrize("jobs", [1, 2])
def test_interrupted_and_continued_it_is_the_same_sweep(jobs, calls, plan, tmp_path):
    whole = Sweep(plan(trials=4, output=tmp_path / "whole"))
    whole.run()
    for after in (2, 3):  # calls of the interrupted part
        part, before = Sweep(plan(trials=4)), len(noted(calls))
        _interrupt(part, lambda calls=calls, most=before + after: len(noted(calls)) >= most)
        with pytest.raises(KeyboardInterrupt):
            part.run(Engine(jobs=jobs))
        assert not part.results()
    assert Sweep(plan(trials=4)).run(Engine(jobs=jobs)) == []
    assert part.table.read_text() == whole.table.read_text()


def _interrupt(sweep, when):
    """Let the sweep meet a Ctrl-C in the run that makes `when` true."""
    run_trial = sweep._run_trial

    def interrupted(trials, claim, worker):
        if when():
            sweep._interrupted.set()
        run_trial(trials, claim, worker)

    sweep._run_trial = interrupted


def test_failed_trials_count_and_stop_nothing(calls, plan):
    sweep = Sweep(plan(trials=6, space=HARD))
    assert sweep.run() == []
    errors = [row["error"] for row in rows(sweep) if row["state"] == "failed"]
    assert "train.py: error: the loss is nan in epoch 1" in errors
    assert "its process ended with -9" in errors
    for row in rows(sweep):
        assert (row["state"] == "failed") == (float(row["OPTIM.LR"]) > 0.2) == (not row["mAP"])
    assert len(rows(sweep)) == 12 and len(sweep.results()) == 4


def test_a_method_without_a_finished_trial_is_named(calls, plan):
    sweep = Sweep(plan(trials=1))
    sweep.trials[0].fail(sweep.trials[0].claim(), "no luck")
    (problem,) = sweep.run()
    assert "CoOp: no trial has finished" in problem
    assert [path.parts[-4] for path in sweep.results()] == ["LMPT", "LMPT"]


def test_pruned_trials_are_not_chosen(calls, plan):
    sweep = Sweep(plan(trainers=("CoOp",), trials=12, pruner="median"))
    assert sweep.run() == []
    states = [row["state"] for row in rows(sweep)]
    assert states[:5] == ["finished"] * 5 and "pruned" in states  # the median needs five
    (chosen,) = [row for row in rows(sweep) if row["chosen"]]
    best = min(float(row["OPTIM.LR"]) for row in rows(sweep))
    assert chosen["state"] == "finished" and float(chosen["OPTIM.LR"]) == best


def test_what_stops_one_worker_stops_the_sweep(calls, plan):
    sweep = Sweep(plan())
    recipe = sweep.plan.folder / "CoOp" / "trial1" / "recipe.yaml"
    recipe.parent.mkdir()
    recipe.write_text("another")
    with pytest.raises(ValueError, match="trial1/recipe.yaml holds another recipe") as error:
        sweep.run(Engine(jobs=2))
    lock = try_lock(recipe.parent)
    assert lock and error  # which, as long as it lives, keeps the frames of the trial
    lock.release()
    recipe.unlink()
    assert Sweep(plan()).run(Engine(jobs=2)) == []


def test_two_processes_share_a_sweep(calls, plan):
    sweeps = [Sweep(plan(trials=6)), Sweep(plan(trials=6))]
    with ThreadPoolExecutor() as pool:
        assert list(pool.map(Sweep.run, sweeps)) == [[], []]
    found = [tuple(line[:3]) for line in noted(calls)]
    assert len(found) == len(set(found)) == 12 + 4
    assert len(rows(sweeps[0])) == 12
    assert [row["chosen"] for row in rows(sweeps[0])].count("yes") == 2
