from __future__ import annotations

import subprocess
import sys

from sweeping.claims import try_lock


def test_a_folder_is_held_once(tmp_path):
    lock = try_lock(tmp_path / "run")
    assert lock is not None and try_lock(tmp_path / "run") is None
    lock.release()
    assert try_lock(tmp_path / "run") is not None


def test_a_process_that_is_killed_abandons_its_run(tmp_path):
    folder = tmp_path / "run"
    program = (
        "import sys, time; from pathlib import Path; from sweeping.claims import try_lock; "
        "lock = try_lock(Path(sys.argv[1])); print(lock is not None, flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert owner.stdout.readline() == "True\n"
        assert try_lock(folder) is None
    finally:
        owner.kill()
        owner.wait()
    assert try_lock(folder) is not None
