"""The README's promises that can be run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image

from common.yaml_files import read_with_bases
from tests.helpers.project_copy import copy_project
from tests.helpers.small_set import arguments, write_set

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_a_method_is_one_file(tmp_path):
    """The README's example, dropped into a copy of the project, is found, configured and run."""
    project = copy_project(tmp_path / "project")
    (project / "trainers" / "anchored.py").write_text(blocks("python")[0])
    recipe = project / "configs/trainers/Anchored/recommended.yaml"
    recipe.parent.mkdir(parents=True)
    shutil.copytree(ROOT / "configs", project / "configs", dirs_exist_ok=True)
    recipe.write_text(blocks("yaml")[0])
    assert read_with_bases(recipe)[-1][1]["OPTIM"]["MAX_EPOCH"] == 15
    write_set(tmp_path / "data")
    more = ("TRAINER.ANCHORED.WEIGHT", "0.5")
    words = arguments(tmp_path / "data", "Anchored", tmp_path / "out", *more)
    command = [sys.executable, "train.py", *words]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "results.json").read_text())["trainer"] == "Anchored"
    assert re.search(r"loss \S+ \(\S+\) loss_cls .* drift ", done.stdout)


def test_a_model_scores_pictures_in_a_program_of_ten_lines(tmp_path):
    """From an empty folder, with the project on the path alone."""
    for name in "abc":
        Image.new("RGB", (40, 30), "red").save(tmp_path / f"{name}.jpg")
    done = subprocess.run(
        [sys.executable, "-c", blocks("python")[1]],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    scores = re.findall(r"\d\.\d+", done.stdout)
    assert len(scores) == 9 and all(0 <= float(score) <= 1 for score in scores)


def test_files_that_the_readme_names_exist():
    for name in re.findall(
        r"\]\((\S+?\.md)\)|(configs/(?!trainers/Anchored)\S+\.yaml)|(scripts/\w+\.\w+)", README
    ):
        path = next(part for part in name if part)
        if not path.startswith("http"):
            assert (ROOT / path).exists(), path
