"""Which interpreter the set-up takes and what it would install, with a stand-in for Python."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SETUP = "scripts/lib/setup_env.sh"
# Writes down pip's words, says whether it has torch, and does nothing else.
STAND_IN = """#!/bin/sh
case "$*" in
*'version("torch")'*) exit "${LACKS_TORCH:-1}" ;;
"-m pip"*) echo "$@" >>"$CALLS" ;;
esac
exit 0
"""


def interpreter(prefix, name="bin/python"):
    path = prefix / name
    path.parent.mkdir(parents=True)
    path.write_text(STAND_IN)
    path.chmod(0o755)
    return path


@pytest.fixture
def set_up(tmp_path):
    """Sources the script in a project of its own; returns the process and pip's calls."""
    script, calls = tmp_path / "project" / SETUP, tmp_path / "calls"
    script.parent.mkdir(parents=True)
    script.write_text((ROOT / SETUP).read_text())
    interpreter(tmp_path / "project/.venv")

    def run(**variables):
        outer = ("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "LMPT_TORCH")
        own = {name: value for name, value in os.environ.items() if name not in outer}
        done = subprocess.run(
            ["bash", "-c", f'source "{script}" requirements.txt && echo "PYTHON=$PYTHON"'],
            env={**own, "CALLS": str(calls), **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        return done, calls.read_text().splitlines() if calls.exists() else []

    return run


def test_torch_without_cuda_comes_first_and_from_one_index(set_up):
    done, calls = set_up(LMPT_TORCH="cpu")
    assert done.returncode == 0, done.stderr
    torch, rest = calls
    index = "--index-url https://download.pytorch.org/whl/cpu"
    assert torch.endswith(f"torch>=2.4 torchvision>=0.19 {index}")
    assert "--requirement" in rest and "--index-url" not in rest


def test_a_torch_that_is_there_is_kept(set_up):
    _, calls = set_up(LMPT_TORCH="cpu", LACKS_TORCH="0")
    assert len(calls) == 1 and "--index-url" not in calls[0]


def test_the_floors_are_those_of_the_requirements():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    script = (ROOT / SETUP).read_text()
    assert all(f'"{line}"' in script for line in lines if line.startswith("torch"))


def test_by_default_torch_comes_with_the_requirements(set_up):
    done, calls = set_up()
    assert done.returncode == 0 and len(calls) == 1


def test_another_word_is_refused(set_up):
    done, calls = set_up(LMPT_TORCH="gpu")
    assert done.returncode == 1 and calls == []
    assert "LMPT_TORCH must be cpu, or not be set; got gpu" in done.stderr


@pytest.mark.parametrize(("name", "used"), [("base", "project/.venv"), ("mine", "conda")])
def test_conda_s_base_is_left_alone(name, used, set_up, tmp_path):
    interpreter(tmp_path / "conda")
    done, _ = set_up(CONDA_PREFIX=str(tmp_path / "conda"), CONDA_DEFAULT_ENV=name)
    assert done.returncode == 0, done.stderr
    assert f"PYTHON={tmp_path / used}/bin/python" in done.stdout
    assert ("base environment is left alone" in done.stdout) == (name == "base")


@pytest.mark.parametrize(
    ("active", "name"),
    [("VIRTUAL_ENV", "Scripts/python.exe"), ("CONDA_PREFIX", "python.exe")],
)
def test_an_environment_of_windows(active, name, set_up, tmp_path):
    path = interpreter(tmp_path / "mine", name)
    done, _ = set_up(**{active: str(tmp_path / "mine")})
    assert done.returncode == 0 and f"PYTHON={path}" in done.stdout
