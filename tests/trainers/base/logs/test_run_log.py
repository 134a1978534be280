from __future__ import annotations

import os
import re
import sys
import warnings
from pathlib import Path

import pytest

import train
from tests.helpers.sets.small_set import PLAIN, TEST, TRAIN, arguments, results, write_set
from trainers.base import PromptTrainer
from trainers.base.logs.run_log import logging_to


@pytest.fixture
def root(tmp_path):
    write_set(tmp_path / "data")
    return tmp_path / "data"


def reported(folder):
    """What CoOp's parser finds: the last mAP of log.txt after "Finish training"."""
    _, _, end = (folder / "log.txt").read_text().partition("\nFinish training\n")
    values = re.findall(r"^\* mAP: ([\.\deE+-]+)%", end, re.MULTILINE)
    return float(values[-1]) if values else None


def test_a_log_begins_with_what_runs_on_what_and_leaves_the_config_to_its_file(root, tmp_path):
    output = tmp_path / "out"
    command = arguments(root, "CoOp", output, "TEST.FINAL_MODEL", "best_test")
    train.main(command)
    log = (output / "log.txt").read_text()
    first = log.splitlines()[:8]
    assert first[0].startswith("Training: CoOp on ListLT, CLIP ")
    for line in ("Seed: 1", "Config files: ", f"Output: {output}", "Device: cpu", "Command: "):
        assert any(found.startswith(line) for found in first), line
    assert str(PLAIN) in log
    assert "train: 21 images" in log and "test: 9 images" in log
    assert "** Config **" not in log and "BATCH_SIZE" not in log
    assert "BATCH_SIZE" in (output / "config.yaml").read_text()
    looks = re.findall(r"^Evaluate on the \*test\* set(: mAP [\d.]+% \(.*\))?$", log, re.MULTILINE)
    assert len(looks) == 5 and all(looks[:4]) and not looks[4]  # one line an epoch, and the end
    assert log.count("=> result") == 1
    train.main([*command[:6], "--eval-only", "--model-dir", str(output), "--verbose"])
    log = next(output.glob("log.txt-*")).read_text()
    assert log.startswith("Evaluation: CoOp on ListLT") and f"Run: {output}" in log
    assert "** Config **" in log and "PyTorch" in log


def test_an_evaluation_leaves_its_config_beside_that_of_the_run(root, tmp_path):
    output = tmp_path / "out"
    train.main(arguments(root, "CoOp", output))
    before = {n: (output / n).read_bytes() for n in ("config.yaml", "log.txt", "results.json")}
    evaluate = ["--eval-only", "--model-dir", str(output), "TEST.SCORE", "softmax"]
    train.main(evaluate)
    assert {name: (output / name).read_bytes() for name in before} == before
    assert "SCORE: softmax" in (output / "config_eval.yaml").read_text()
    train.main([*evaluate, "--output-dir", str(tmp_path / "other")])
    assert "SCORE: softmax" in (tmp_path / "other" / "config_eval.yaml").read_text()
    assert not (tmp_path / "other" / "config.yaml").exists()


def test_results_say_where_they_come_from(root, tmp_path):
    train.main(arguments(root, "ZeroshotCLIP", tmp_path / "out", "DATASET.VAL_FRACTION", "0.2"))
    found = results(tmp_path / "out")
    train_images, val_images, test_images = found["images"].values()
    assert train_images + val_images == TRAIN and val_images > 0 and test_images == TEST
    assert found["device"] == "cpu"
    assert found["command"] and re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\+00:00", found["date"])
    commit, dirty = found["commit"], found["dirty"]
    assert (commit, dirty) == (None, None) or (len(commit) >= 40 and dirty in (True, False))


def test_the_log_of_the_run_that_ended_is_the_one_that_parsers_find(root, tmp_path, monkeypatch):
    output, epochs = tmp_path / "out", PromptTrainer.after_epoch

    def failing(self):
        epochs(self)
        raise RuntimeError("the first try fails")

    command = arguments(root, "CoOp", output)
    with monkeypatch.context() as patch:
        patch.setattr(PromptTrainer, "after_epoch", failing)
        with pytest.raises(RuntimeError):
            train.main(command)
    failed = (output / "log.txt").read_text()
    assert reported(output) is None
    train.main(command)
    value = results(output)["metrics"]["mAP"]
    assert reported(output) == pytest.approx(value, abs=0.005)
    assert [path.read_text() for path in output.glob("log.txt-*")] == [failed]
    with monkeypatch.context() as patch:  # a later try that fails takes nothing away
        patch.setattr(PromptTrainer, "after_train", failing)
        with pytest.raises(RuntimeError):
            train.main(command)
    assert reported(output) == pytest.approx(value, abs=0.005)
    assert len(list(output.glob("log.txt-*"))) == 2


def test_an_earlier_log_keeps_its_content_and_every_log_has_a_name(tmp_path):
    for number in range(4):  # within a second, in which names with the time are the same
        with logging_to(str(tmp_path), evaluation=False):
            print(f"run {number}")
    assert (tmp_path / "log.txt").read_text() == "run 3\n"
    others = [path.read_text() for path in tmp_path.glob("log.txt-*")]
    assert sorted(others) == ["run 0\n", "run 1\n", "run 2\n"]


def test_what_libraries_tell_their_authors_is_kept_off_the_console(tmp_path, recwarn):
    warnings.simplefilter("always")
    with logging_to(str(tmp_path), evaluation=False):
        warnings.warn("torch.jit is deprecated", FutureWarning, stacklevel=1)
        warnings.warn("this picture is odd", UserWarning, stacklevel=1)
    assert [str(warning.message) for warning in recwarn] == ["this picture is odd"]
    log = (tmp_path / "log.txt").read_text()
    assert "torch.jit is deprecated" in log and Path(__file__).name in log


def test_the_console_is_itself_again_afterwards(tmp_path):
    before = sys.stdout, warnings.showwarning
    with pytest.raises(ZeroDivisionError), logging_to(str(tmp_path), evaluation=False):
        print(1 / 0)
    assert (sys.stdout, warnings.showwarning) == before
    os.remove(tmp_path / "log.txt")  # it is closed
