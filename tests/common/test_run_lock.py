from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from common import run_lock as module
from common.run_lock import FolderInUseError, run_lock

PROJECT = Path(__file__).parents[2]
HOLD = """
import sys, time
from pathlib import Path
from common.run_lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds tmp_path/out until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "out")],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def owner(folder, **changes):
    known = {"pid": os.getpid(), "host": socket.gethostname(), "since": "today", "command": "x"}
    (folder / ".owner.json").write_text(json.dumps({**known, **changes}))


def test_a_second_run_is_told_which_one_is_there(holder, tmp_path):
    message = f"in use by process {holder.pid} on {socket.gethostname()} since .*--output-dir"
    with pytest.raises(FolderInUseError, match=message), run_lock(tmp_path / "out"):
        pass
    holder.communicate()  # it ends
    with run_lock(tmp_path / "out"):
        assert json.loads((tmp_path / "out/.owner.json").read_text())["pid"] == os.getpid()


def test_the_lock_of_a_killed_run_is_taken_over(holder, tmp_path):
    holder.kill()
    holder.wait()
    assert json.loads((tmp_path / "out/.owner.json").read_text())["pid"] == holder.pid
    with run_lock(tmp_path / "out"):
        pass


def test_a_number_that_another_process_has_by_now_does_not_lock(tmp_path):
    owner(tmp_path, pid=1)
    with run_lock(tmp_path):
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 3}'])
def test_a_damaged_note_on_the_owner_does_no_harm(content, tmp_path):
    (tmp_path / ".owner.json").write_text(content)
    with run_lock(tmp_path):
        pass


def test_what_a_dead_run_left_running_is_waited_for_and_not_for_ever(holder, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(module.time, "sleep", waits.append)
    monkeypatch.setattr(module.time, "monotonic", lambda: 10.0 * len(waits))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    owner(tmp_path / "out", pid=gone.pid)  # as if the holder were its child
    with pytest.raises(FolderInUseError, match=f"{gone.pid}.*decoding"), run_lock(tmp_path / "out"):
        pass
    assert len(waits) == 2


def test_owners_on_other_machines_are_taken_to_be_alive(holder, tmp_path):
    owner(tmp_path / "out", host="elsewhere", pid=2**22)
    with pytest.raises(FolderInUseError, match="on elsewhere"), run_lock(tmp_path / "out"):
        pass


def test_a_run_that_is_started_again_waits_for_the_one_before(holder, tmp_path, monkeypatch):
    monkeypatch.setenv("LMPT_LOCK_PATIENCE", "30")
    owner(tmp_path / "out", host="elsewhere")
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            holder.communicate()  # it ends

    monkeypatch.setattr(module.time, "sleep", sleep)
    with run_lock(tmp_path / "out"):
        assert len(waits) == 3


def test_it_does_not_wait_for_ever(holder, tmp_path, monkeypatch):
    monkeypatch.setenv("LMPT_LOCK_PATIENCE", "30")
    waits = []
    monkeypatch.setattr(module.time, "sleep", waits.append)
    monkeypatch.setattr(module.time, "monotonic", lambda: 10.0 * len(waits))
    with pytest.raises(FolderInUseError, match="in use by process"), run_lock(tmp_path / "out"):
        pass
    assert len(waits) == 3
    monkeypatch.setenv("LMPT_LOCK_PATIENCE", "long")
    with pytest.raises(ValueError, match="number of seconds such as 120, got 'long'"):
        run_lock(tmp_path).__enter__()


def test_temporary_files_of_killed_runs_are_removed(tmp_path):
    (tmp_path / "prompt_learner").mkdir()
    left = [tmp_path / ".config.yaml.4711.tmp", tmp_path / "prompt_learner/.model.4711.tmp"]
    kept = tmp_path / "prompt_learner" / "mine.tmp"
    for path in (*left, kept):
        path.touch()
    with run_lock(tmp_path):
        assert not any(path.exists() for path in left) and kept.exists()
    assert not (tmp_path / ".owner.json").exists()


def test_a_file_system_without_locks_is_said_to_be_one(tmp_path, monkeypatch, capsys):
    def unsupported(self, timeout):
        raise NotImplementedError

    monkeypatch.setattr(module.FileLock, "acquire", unsupported)
    with run_lock(tmp_path):
        pass
    assert "without locks" in capsys.readouterr().out
