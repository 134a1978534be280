"""A small sample of the damaged files that scripts/reliability/fuzz.py reads."""

from __future__ import annotations

import sys

import pytest

if sys.platform != "linux":
    pytest.skip("files are read in forks that are watched as Linux does", allow_module_level=True)

from scripts.reliability.fuzz import Found, read_batch, report
from tests.helpers.hostile.mutations import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_read_or_refused_as_documented(kind):
    found = read_batch((kind, 0, 0, 30))
    assert [one.number for one in found] == list(range(30))
    problems = [one.problem for one in found if not one.problem.startswith("took")]
    assert not any(problems), problems


def test_the_figures_come_last(capsys):
    good = Found("list", 0, True, "", 0.1, 5)
    assert report([good]) == 0
    assert report([good, good._replace(read=False, problem="undocumented KeyError")]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("2 inputs: 1 undocumented ends")
