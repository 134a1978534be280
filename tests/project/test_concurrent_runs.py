"""Runs that start at the same time, in processes of their own."""

from __future__ import annotations

import os

import pytest

if not hasattr(os, "fork"):
    pytest.skip("the runs are forked", allow_module_level=True)

from scripts.reliability.concurrent_runs import Run, main, problem_of
from tests.helpers.forks import in_a_fork

ALONE = {1: {"results.json": "one"}, 2: {"results.json": "two"}}
REFUSAL = "train.py: error: out is in use by process 71 on host since 12:00"


def test_two_at_once_do_each_other_no_harm(capfd):
    words = ["--tries", "1", "--processes", "2"]
    # In a process of its own: it changes the modules of what it runs.
    status = in_a_fork(lambda: os._exit(main(words)))
    printed = capfd.readouterr().out
    assert status == 0, printed
    assert printed.splitlines()[-1] == (
        "1 tries of two seeds in one folder, 1 with one refused and one exact; "
        "2 processes on an empty cache, 2 equal to one alone"
    )


@pytest.mark.parametrize(
    ("statuses", "told", "left", "problem"),
    [
        ((0, 2), REFUSAL, {"results.json": "one"}, ""),
        ((0, 0), "", {"results.json": "one"}, "exit statuses 0 and 0"),
        ((2, 2), REFUSAL, {}, "exit statuses 2 and 2"),
        ((0, 2), "out holds another run", {"results.json": "one"}, "not told of process 71"),
        ((0, 2), REFUSAL, {"results.json": "two"}, "differs: results.json"),
    ],
)
def test_ends_in_one_folder_are_judged(statuses, told, left, problem):
    runs = [Run(2, 72, statuses[1], told), Run(1, 71, statuses[0], "")]
    found = problem_of(runs, ALONE, left)
    assert problem in found and bool(found) == bool(problem)
