"""The README's promises that can be run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.helpers.project_copy import copy_project
from tests.helpers.small_set import arguments, write_set

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_a_method_is_one_file(tmp_path):
    """The README's example, dropped into a copy of the project, is found, configured and run."""
    project = copy_project(tmp_path / "project")
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    (project / "trainers" / "mine.py").write_text(code)
    write_set(tmp_path / "data")
    words = arguments(tmp_path / "data", "Mine", tmp_path / "out", "TRAINER.MINE.WEIGHT", "0.5")
    command = [sys.executable, "train.py", *words]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "results.json").read_text())["trainer"] == "Mine"
    assert re.search(r"loss \S+ \(\S+\) loss_cls .* spread ", done.stdout)


def test_files_that_the_readme_names_exist():
    for name in re.findall(r"\]\((\S+?\.md)\)|(configs/\S+\.yaml)|(scripts/\w+\.\w+)", README):
        path = next(part for part in name if part)
        if not path.startswith("http"):
            assert (ROOT / path).exists(), path
