"""A copy of the project's code, for tests that drop files into it."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}


def copy_project(project: Path) -> Path:
    """Copy what train.py needs to the folder `project`, which is made, and return it."""
    for name in ("assets", *PACKAGES):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("command_line.py", "configuration.py", "train.py"):
        shutil.copy(ROOT / name, project / name)
    return project
