from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from sweeping.engine import Engine
from sweeping.ray_runs import Share

TRAINING = """
import os

def main(words):
    print(os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("OMP_NUM_THREADS"))
"""
VARIABLES = ("ENGINE", "JOBS", "GPUS", "CPUS_PER_RUN", "GPUS_PER_RUN", "MEMORY_PER_RUN")


@pytest.fixture
def asked(monkeypatch):
    """Sets the environment on a machine of four GPUs; returns what is made of it."""

    def ask(jobs=None, **variables):
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        for name, text in variables.items():
            monkeypatch.setenv(name, text)
        return Engine.from_environment(jobs)

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    return ask


def test_without_words_one_run_at_a_time_sees_all(asked):
    assert asked() == Engine("local", None, (), Share()) and not asked().quiet
    assert asked(JOBS="3").jobs == 3 and asked(JOBS="3").quiet
    assert asked(2, JOBS="3").jobs == 2  # a flag comes before the variable


def test_there_are_as_many_jobs_as_gpus_if_not_said_otherwise(asked):
    assert asked(GPUS="0 2 3") == Engine("local", 3, ("0", "2", "3"))
    assert asked(GPUS="1,0").gpus == ("1", "0")
    assert asked(GPUS="0 1", JOBS="6").jobs == 6
    assert asked(6, GPUS="0 1").jobs == 6


def test_gpus_are_counted_among_those_that_a_job_was_given(asked):
    assert asked(GPUS="1 0", CUDA_VISIBLE_DEVICES="4,GPU-7a").gpus == ("GPU-7a", "4")


@pytest.mark.parametrize("gpus", ["0 4", "0 0", "-1", "a", "0;1", "cuda:0"])
def test_gpus_that_there_are_not_are_refused(gpus, asked, monkeypatch):
    with pytest.raises(ValueError, match=r"GPUS must be .*\(0 1 2 3\), such as \"0 1\", got '"):
        asked(GPUS=gpus)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match=r"\(none\)"):
        asked(GPUS=gpus)


def test_a_run_is_given_what_the_environment_says(asked):
    found = asked(ENGINE="ray", CPUS_PER_RUN="2", GPUS_PER_RUN="0.25", MEMORY_PER_RUN="8", JOBS="5")
    assert found == Engine("ray", 5, (), Share(2.0, 0.25, 8.0))
    assert asked(ENGINE="ray") == Engine("ray") and asked(ENGINE="ray").quiet


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"ENGINE": "rya"}, "ENGINE must be one of local, ray, got 'rya'. Did you mean 'ray'?"),
        ({"ENGINE": "ray", "GPUS": "0 1"}, "GPUS is for ENGINE=local"),
        ({"GPUS_PER_RUN": "1"}, "GPUS_PER_RUN is for ENGINE=ray"),
        ({"JOBS": "two"}, "JOBS must be a number of 1 or more, got 'two'"),
        ({"JOBS": "0"}, "got '0'"),
        ({"ENGINE": "ray", "GPUS_PER_RUN": "1.5"}, "GPUS_PER_RUN must be a number such as"),
        ({"ENGINE": "ray", "CPUS_PER_RUN": "-1"}, "got '-1'"),
        ({"ENGINE": "ray", "MEMORY_PER_RUN": "8G"}, "got '8G'"),
        ({"ENGINE": "ray", "MEMORY_PER_RUN": "inf"}, "got 'inf'"),
    ],
)
def test_wrong_words_are_refused(variables, message, asked):
    with pytest.raises(ValueError) as error:
        asked(**variables)
    assert message in str(error.value)


def test_each_worker_sees_its_gpu(asked, tmp_path, monkeypatch):
    (tmp_path / "train.py").write_text(TRAINING)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    engine = asked(3, GPUS="2 3")

    def seen(worker, number):
        console = Path(tmp_path, f"{number}.txt")
        assert worker.run([], console) == 0
        return console.read_text().split()

    with engine.workers(threading.Event()) as workers:
        found = [seen(worker, number) for number, worker in enumerate(workers)]
    assert found == [["2", "1"], ["3", "1"], ["2", "1"]]
    with engine.workers(threading.Event(), most=2) as workers:
        assert len(workers) == 2
