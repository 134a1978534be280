"""What README.md and docs/ promise and can be checked: examples, names of files, tables."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from common.readers.yaml_files import read_with_bases
from tests.helpers.project_copy import copy_project
from tests.helpers.sets.small_set import arguments, write_set

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PLUGINS = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def test_a_method_is_one_file(tmp_path):
    """The example of docs/plugins.md runs in a copy of the project, with its recipe beside it."""
    project = copy_project(tmp_path / "project")
    (project / "trainers" / "anchored.py").write_text(blocks(PLUGINS, "python")[0])
    recipe = project / "configs/trainers/Anchored/recommended.yaml"
    recipe.parent.mkdir(parents=True)
    shutil.copytree(ROOT / "configs", project / "configs", dirs_exist_ok=True)
    recipe.write_text(blocks(PLUGINS, "yaml")[0])
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
        [sys.executable, "-c", blocks(README, "python")[0]],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    scores = re.findall(r"\d\.\d+", done.stdout)
    assert len(scores) == 9 and all(0 <= float(score) <= 1 for score in scores)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page):
    text = page.read_text(encoding="utf-8")
    links = {page.parent / name for name in re.findall(r"\]\(([^)#:]+)\)", text)}
    files = {
        ROOT / name
        for name in re.findall(r"\b(?:configs|scripts|tests)/[\w/]+\.(?:yaml|py|sh)\b", text)
        if "/Anchored/" not in name
    }
    missing = sorted(str(path) for path in links | files if not path.exists())
    assert not missing


def test_the_readme_lists_every_page():
    names = {page.name for page in PAGES} - {"README.md"}
    assert names <= {Path(link).name for link in re.findall(r"^- \[\w+\]\((\S+)\)", README, re.M)}


def test_published_rows_are_those_of_the_csv():
    """Cell by cell, in the csv's order; a column of ours is empty as long as nothing was measured.

    The csv also has methods that the README leaves out.
    """
    with (ROOT / "docs" / "published.csv").open(encoding="utf-8", newline="") as file:
        expected = list(csv.DictReader(file))
    section = README.split("## Published figures")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    found = []
    for dataset, method, backbone, *values, ours, link in cells[1:]:
        name, address = re.fullmatch(r"\[(.+)\]\((\S+)\)", link).groups()
        assert ours == ""
        row = [method, backbone, dataset, "", "mAP_softmax", *values, f"{name} {address}"]
        found.append(["" if cell == "–" else cell for cell in row])
    rows = [list(row.values()) for row in expected]
    assert found and found == [row for row in rows if row in found]
