from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sweeping.workers import INTERRUPTED, STOPPED, Worker

ROOT = Path(__file__).resolve().parents[2]

# Does what its first word says.
TRAINING = """
import multiprocessing, os, signal, sys, time

def main(words, watch=None):
    print("words:", *words)
    if words[0] == "watched":
        for epoch in (1, 2, 3):
            watch(epoch, "val", 10.0 * epoch)
    if words[0] == "wrong":
        raise KeyError("no such thing")
    if words[0] == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if words[0] == "decodes":
        child = multiprocessing.get_context("spawn").Process(target=print)
        child.start()
        child.join()
        sys.exit(child.exitcode)
    if words[0] == "sleeps":
        with open(words[1], "w") as file:
            file.write(str(os.getpid()))
        time.sleep(60)
"""


@pytest.fixture
def training(tmp_path, monkeypatch):
    (tmp_path / "train.py").write_text(TRAINING)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.fixture
def worker(training):
    worker = Worker(threading.Event())
    yield worker
    worker.stop()


def test_runs_end_with_their_status_and_leave_their_words(worker, tmp_path):
    assert worker.run(["fine", "a b", ""], tmp_path / "deep" / "console.txt") == 0
    assert (tmp_path / "deep" / "console.txt").read_text() == "words: fine a b \n"
    assert worker.run(["wrong"], tmp_path / "console.txt") == 1
    assert "KeyError: 'no such thing'" in (tmp_path / "console.txt").read_text()
    assert worker.run(["dies"], tmp_path / "console.txt") == -signal.SIGKILL
    assert worker.run(["fine"], tmp_path / "console.txt") == 0


def test_a_run_may_have_processes_of_its_own(worker, tmp_path):
    assert worker.run(["decodes"], tmp_path / "console.txt") == 0
    assert "Error" not in (tmp_path / "console.txt").read_text()


def test_a_watched_run_ends_when_it_is_told_to(worker, tmp_path):
    seen = []

    def watch(epochs, split, metric):
        seen.append((epochs, split, metric))
        return metric < 20

    assert worker.run(["watched"], tmp_path / "console.txt", watch) == STOPPED
    assert seen == [(1, "val", 10.0), (2, "val", 20.0)]
    assert worker.run(["watched"], tmp_path / "console.txt", lambda *seen: True) == 0


def test_nothing_runs_after_an_interruption(training):
    interrupted = threading.Event()
    interrupted.set()
    assert Worker(interrupted).run(["fine"]) == INTERRUPTED


@pytest.mark.skipif(os.name == "nt", reason="asks whether a process lives by signal 0")
def test_a_run_ends_with_the_process_that_asked_for_it(training):
    pid = training / "pid"
    program = (
        "import threading\nfrom sweeping.workers import Worker\n"
        f"if __name__ == '__main__':\n    Worker(threading.Event()).run(['sleeps', {str(pid)!r}])\n"
    )
    (training / "program.py").write_text(program)
    path = os.pathsep.join([str(training), str(ROOT)])
    parent = subprocess.Popen(
        [sys.executable, str(training / "program.py")], env={**os.environ, "PYTHONPATH": path}
    )
    try:
        assert _within_a_minute(lambda: pid.is_file() and pid.read_text())
        parent.kill()
        assert _within_a_minute(lambda: not _lives(int(pid.read_text())))
    finally:
        parent.kill()
        parent.wait()


def test_a_program_may_end_without_stopping_its_workers(training):
    program = (
        "import threading\nfrom sweeping.workers import Worker\n"
        "if __name__ == '__main__':\n    Worker(threading.Event()).run(['fine'])\n"
    )
    (training / "program.py").write_text(program)
    path = os.pathsep.join([str(training), str(ROOT)])
    done = subprocess.run(
        [sys.executable, str(training / "program.py")],
        env={**os.environ, "PYTHONPATH": path},
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "words: fine" in done.stdout


def _within_a_minute(true):
    end = time.monotonic() + 60
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


def _lives(pid):
    """Whether a process runs; one that has ended and is not yet buried does not."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
