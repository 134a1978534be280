from __future__ import annotations

import csv

import pytest

import train
from scripts import interpret_prompt
from tests.helpers.sets.small_set import arguments, write_set


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_set(root)
    options = ("OPTIM.MAX_EPOCH", "1", "TRAINER.COOP.CTX_INIT", "a photo of a")
    train.main(arguments(root, "CoOp", root / "run", *options))
    return str(root / "run")


def test_the_table_alone_is_printed(run, capsys):
    interpret_prompt.main([run, "--top", "2"])
    printed, notes = capsys.readouterr()
    head, _, *lines = printed.splitlines()
    assert head.split() == ["token", "nearest", "1", "nearest", "2"]
    assert [line.split()[1] for line in lines] == ["a</w>", "photo</w>", "of</w>", "a</w>"]
    assert "CTX_INIT has 4 tokens" in notes


def test_csv_goes_to_a_file(run, tmp_path, capsys):
    file = tmp_path / "words.csv"
    interpret_prompt.main([run, "--format", "csv", "--output", str(file)])
    with file.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert len(rows) == 4 * 5
    assert {row["rank"] for row in rows} == {*"12345"}
    assert capsys.readouterr().out == f"Written to {file}\n"
