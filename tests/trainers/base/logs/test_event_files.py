from __future__ import annotations

import pytest
from torch.utils.tensorboard import SummaryWriter

from tests.helpers.runs.event_values import event_values
from trainers.base.logs.event_files import keep_events


@pytest.fixture
def folder(tmp_path):
    """Two files, as of a run that was stopped and went on."""
    for start, end in ((0, 4), (4, 6)):
        with SummaryWriter(str(tmp_path), filename_suffix=f".{start}") as writer:
            for step in range(start, end):
                writer.add_scalar("train/loss", step / 2, step)
                writer.add_scalar("test/mAP", step, step)
            writer.add_text("run/config", "text", start)
    return tmp_path


def test_what_is_not_kept_is_gone_and_the_rest_is_as_it_was(folder):
    before = event_values(folder)
    last = keep_events(folder, lambda tag, step: tag != "test/mAP" or step < 2)
    assert last == {"train/loss": 5, "test/mAP": 1, "run/config": 4}
    after = event_values(folder)
    assert after.pop("test/mAP") == before.pop("test/mAP")[:2]
    assert after == before


def test_nothing_is_written_where_all_is_kept(folder):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    keep_events(folder, lambda tag, step: True)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_emptied_files_go_and_others_stay(folder):
    (folder / "notes.txt").write_text("mine")
    assert keep_events(folder, lambda tag, step: step < 4)["train/loss"] == 3
    assert len(list(folder.glob("events*"))) == 1
    assert keep_events(folder, lambda tag, step: False) == {}
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("lost", [1, 5, 30])
def test_half_a_record_at_the_end_is_passed_over(folder, lost):
    path = sorted(folder.glob("events*"))[-1]
    path.write_bytes(path.read_bytes()[:-lost])
    keep_events(folder, lambda tag, step: step < 5)
    assert [step for step, _ in event_values(folder)["train/loss"]] == [0, 1, 2, 3, 4]


def test_an_absent_folder_holds_nothing(tmp_path):
    assert keep_events(tmp_path / "absent", lambda tag, step: True) == {}
