"""Fixtures of the tests of shell scripts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.idle_training import idle_project

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with another train.py in it."""
    return idle_project(tmp_path_factory.mktemp("project"), ROOT)


@pytest.fixture
def script(project: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script from an empty folder with its output there; returns the finished process."""

    def run(name, *words, project=project, shell="bash", **environment):
        python, calls = sys.executable, tmp_path / "calls"
        given = {"OUTPUT": "out", "DATA": "data", "PYTHON": python, "CALLS": calls}
        own = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
        variables = {k: str(v) for k, v in (own | given | environment).items()}
        command = [shell, str(project / "scripts" / name), *map(str, words)]
        return subprocess.run(
            command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
        )

    return run
