"""The kill campaign."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys

import pytest
import torch

from tests.helpers.forks import in_a_fork

if sys.platform != "linux":
    pytest.skip("files of processes are looked up in /proc", allow_module_level=True)

from scripts.reliability.file_operations import FileOperations, Operation, Victim
from scripts.reliability.kill_campaign import main
from scripts.reliability.kill_cases import CASES
from scripts.reliability.small_runs import contents


def change_files(folder):
    """One of each kind of change."""
    (folder / "new").mkdir()
    with (folder / "new" / "text.txt").open("w", encoding="utf-8", buffering=1) as file:
        print("first", file=file)
        print("other", file=file)
    (folder / ".text.txt.77.tmp").write_bytes(b"12345678")
    os.replace(folder / ".text.txt.77.tmp", folder / "text.txt")
    shutil.copyfile(folder / "text.txt", folder / "copy.txt")
    torch.save({"a": 1}, folder / "saved.pt")
    (folder / "copy.txt").unlink()


@pytest.mark.parametrize(
    ("what", "number", "moment", "path", "left"),
    [
        ("mkdir new", 1, "before", "new", None),
        ("open new/text.txt", 1, "before", "new/text.txt", None),
        ("open new/text.txt", 1, "after", "new/text.txt", b""),
        ("write new/text.txt", 1, "inside", "new/text.txt", b"fir"),
        ("write new/text.txt", 2, "before", "new/text.txt", b"first\n"),
        ("write new/text.txt", 2, "inside", "new/text.txt", b"first\noth"),
        ("write .text.txt.tmp", 1, "inside", ".text.txt.77.tmp", b"1234"),
        ("replace text.txt", 1, "before", "text.txt", None),
        ("replace text.txt", 1, "after", "text.txt", b"12345678"),
        ("copy to copy.txt", 1, "inside", "copy.txt", b"1234"),
        ("torch.save saved.pt", 1, "before", "saved.pt", None),
        ("unlink copy.txt", 1, "before", "copy.txt", b"12345678"),
        ("unlink copy.txt", 1, "after", "copy.txt", None),
    ],
)
def test_a_process_dies_at_the_moment_that_is_asked_for(what, number, moment, path, left, tmp_path):
    divisible = what.split()[0] in ("write", "copy", "torch.save")
    victim = Victim(Operation(what, number, divisible), moment)

    def work():
        FileOperations(tmp_path, victim)
        change_files(tmp_path)

    assert in_a_fork(work) == -signal.SIGKILL
    found = tmp_path / path
    assert (found.read_bytes() if found.is_file() else None) == left
    assert moment != "before" or what.startswith("unlink") or not (tmp_path / "saved.pt").exists()


def test_half_of_a_checkpoint_cannot_be_read(tmp_path):
    torch.save({"a": 1}, tmp_path / "whole.pt")

    def work():
        FileOperations(tmp_path, Victim(Operation("torch.save half.pt", 1, True), "inside"))
        torch.save({"a": 1}, tmp_path / "half.pt")

    assert in_a_fork(work) == -signal.SIGKILL
    size = (tmp_path / "half.pt").stat().st_size
    assert 0.4 < size / (tmp_path / "whole.pt").stat().st_size < 0.6
    with pytest.raises((RuntimeError, OSError)):
        torch.load(tmp_path / "half.pt", weights_only=True)


def test_operations_are_listed_and_those_elsewhere_are_not(tmp_path):
    (tmp_path / "here").mkdir()

    def work():
        operations = FileOperations(tmp_path / "here")
        change_files(tmp_path / "here")
        (tmp_path / "elsewhere").write_text("x")
        lines = json.dumps([str(operation) for operation in operations.done])
        (tmp_path / "list").write_text(lines)

    assert in_a_fork(work) == 0
    lines = json.loads((tmp_path / "list").read_text())
    assert lines[:4] == [
        "mkdir new (1)",
        "open new/text.txt (1)",
        "write new/text.txt (1)",
        "write new/text.txt (2)",
    ]
    assert lines[-2:] == ["torch.save saved.pt (1)", "unlink copy.txt (1)"]
    assert not any("elsewhere" in line for line in lines)


def test_ends_differ_by_a_bit_a_name_or_a_figure_but_not_by_seconds(tmp_path):
    checkpoint = {"state_dict": {"ctx": torch.zeros(3)}, "run": {"seconds": 1.0, "epoch": 2}}
    figures = {"metrics": {"mAP": 50.0}, "seconds": 3.0}

    def end(name, leaves=()):
        folder = tmp_path / name
        folder.mkdir()
        torch.save(checkpoint, folder / "model.pth.tar-2")
        (folder / "results.json").write_text(json.dumps(figures))
        (folder / "log.txt").write_text(name)
        for left in leaves:
            (folder / left).touch()
        return contents(folder)

    first = end("first")
    checkpoint["run"]["seconds"], figures["seconds"] = 2.0, 4.0
    assert end("later") == first
    assert set(end("dirty", [".model.pth.tar-2.1.tmp"])) - set(first) == {".model.pth.tar-2.1.tmp"}
    checkpoint["state_dict"]["ctx"][1] = -0.0
    changed = {name for name, digest in end("bit").items() if first[name] != digest}
    assert changed == {"model.pth.tar-2: state_dict"}
    checkpoint["state_dict"]["ctx"][1] = 0.0
    figures["metrics"]["mAP"] = 50.00000000000001
    changed = {name for name, digest in end("figure").items() if first[name] != digest}
    assert changed == {"results.json: metrics"}


def test_a_few_kills_of_a_run_end_as_if_there_had_been_none(capfd):
    """Others at every call; a failure prints how to repeat it."""
    case = random.SystemRandom().choice([f"builtin/{name}" for name in CASES])
    status = in_a_fork(lambda: os._exit(main(["--case", case, "--sample", "3", "--jobs", "1"])))
    printed = capfd.readouterr().out
    assert status == 0, printed
    assert printed.splitlines()[-1] == "3 kills, 3 exact resumptions, 0 failures"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--operation", "3"], "--operation is a number in the list of one --case"),
        (["--stock-dassl", "/nowhere"], "/nowhere holds no dassl/__init__.py"),
        (["--case", "builtin/lmpt"], "invalid choice: 'builtin/lmpt'"),
    ],
)
def test_wrong_words_are_refused(words, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2 and message in capsys.readouterr().err
