"""`pip install .`, which the names of our packages do not allow."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.helpers.project_copy import ROOT


@pytest.mark.skipif(find_spec("pip") is None, reason="this environment has no pip")
@pytest.mark.parametrize("how", [(), ("-e",)])
def test_an_installation_ends_in_one_sentence(how, tmp_path):
    words = ["install", "--quiet", "--no-deps", "--no-index", "--target", tmp_path, *how, ROOT]
    command = [sys.executable, "-m", "pip", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "This project is run from its folder and not installed: `pip" in done.stderr
    assert list(tmp_path.iterdir()) == []
