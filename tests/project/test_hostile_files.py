"""Hostile files of every kind, through the readers that options lead to."""

from __future__ import annotations

import os
import sys

import pytest

if sys.platform != "linux":
    pytest.skip("memory is measured, and pipes are made, as Linux does", allow_module_level=True)

from scripts.reliability.hostile_files import LIMIT, MOST
from tests.helpers.hostile.corpus import CORPUS
from tests.helpers.hostile.readers import READERS
from tests.helpers.hostile.trial import attempt
from tests.helpers.hostile.valid import all_valid

# These take a second or hundreds of MB each; scripts/reliability/hostile_files.py reads them, too.
_LONG = {
    *("49 million pixels", "49 million clear pixels", "16 bits", "a bomb", "is a bomb"),
    *("a million instructions", "names alone", "a rare compression", "a name of 300 MB"),
    *("WEBP of a few bytes", "JPEG 2000 of a few bytes", "a program that unpacks to 800 MB"),
}
SHORT = [entry for entry in CORPUS if entry.name not in _LONG]


def test_the_corpus_covers_every_reader_without_repeats():
    assert len(CORPUS) >= 60 and {entry.kind for entry in CORPUS} == set(READERS)
    assert len({entry[:2] for entry in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize("kind", READERS)
def test_nothing_is_executed_written_elsewhere_or_out_of_proportion(kind, tmp_path):
    entries = [entry for entry in SHORT if entry.kind == kind]
    outcomes = attempt([(READERS[kind], entry.make) for entry in entries], tmp_path, LIMIT)
    for entry, outcome in zip(entries, outcomes, strict=True):
        assert (outcome.problem, outcome.executions, outcome.outside) == ("", 0, 0), entry.name
        assert outcome.megabytes < MOST, entry.name


@pytest.mark.parametrize("kind", all_valid())
def test_honest_files_are_read(kind, tmp_path):
    if kind in ("pointer", "result"):
        pytest.skip("they lead to further files")
    jobs = [
        (READERS[kind], lambda path, content=content: path.write_bytes(content))
        for content in all_valid()[kind]
    ]
    assert [(o.problem, o.error) for o in attempt(jobs, tmp_path, LIMIT)] == [("", "")] * len(jobs)


def test_what_must_not_be_is_seen(tmp_path):
    """The trial itself, on readers that do all that must not be."""

    def kill(path):
        os.kill(os.getpid(), 9)

    def write(path):
        (path.parent.parent / "outside" / "executed").touch()

    cases = {
        "executes": lambda path: os.system("true"),
        "writes": write,
        "raises": lambda path: [][0],
        "dies": kill,
    }
    jobs = [
        (type(READERS["yaml"])("x", read), lambda path: path.write_text(""))
        for read in cases.values()
    ]
    executes, writes, raises, dies = attempt(jobs, tmp_path, LIMIT)
    assert executes.executions == 1
    assert writes.executions == 1 and writes.outside == 1
    assert raises.problem.startswith("undocumented IndexError")
    assert dies.problem.startswith("crashed")
