from __future__ import annotations

import datetime
import shutil
import subprocess
from types import SimpleNamespace

import pytest
import torch

from evaluation.results.provenance import commit_of, provenance, utc_date


def git(folder, *words):
    named = ("-c", "user.name=a", "-c", "user.email=a@b.example")
    done = subprocess.run(
        ["git", *named, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("needs git")
    git(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("1\n")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "-q", "-m", "first")
    commit_of.cache_clear()
    return tmp_path


def test_the_commit_of_a_clean_checkout(checkout):
    (checkout / "untracked").write_text("")
    assert commit_of(checkout) == (git(checkout, "rev-parse", "HEAD"), False)


@pytest.mark.parametrize("staged", [False, True])
def test_a_changed_file_makes_it_dirty(checkout, staged):
    (checkout / "a.py").write_text("2\n")
    if staged:
        git(checkout, "add", "a.py")
    assert commit_of(checkout) == (git(checkout, "rev-parse", "HEAD"), True)


def test_a_folder_in_somebody_elses_checkout_has_no_commit(checkout):
    (checkout / "project").mkdir()
    assert commit_of(checkout / "project") == (None, None)


def test_without_git_or_with_a_damaged_checkout_nothing_is_known(checkout, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        assert commit_of(checkout) == (None, None)
    commit_of.cache_clear()
    (checkout / ".git" / "HEAD").write_text("nonsense")
    assert commit_of(checkout) == (None, None)


def test_command_device_and_number_of_images(monkeypatch):
    monkeypatch.setattr("sys.argv", ["train.py", "--root", "my data"])
    found = provenance(SimpleNamespace(train_x=[1, 2, 3], val=None, test=[1]), use_cuda=False)
    assert found["command"] == "train.py --root 'my data'" and found["device"] == "cpu"
    assert found["images"] == {"train": 3, "val": 0, "test": 1}


def test_a_gpu_has_the_name_that_torch_gives_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    dataset = SimpleNamespace(train_x=[], val=[], test=[])
    assert provenance(dataset, use_cuda=True)["device"] == "a GPU"
    assert provenance(dataset, use_cuda=False)["device"] == "cpu"


def test_the_date_is_in_utc_and_to_the_second():
    date = datetime.datetime.fromisoformat(utc_date())
    assert date.utcoffset() == datetime.timedelta(0) and date.microsecond == 0
    assert abs(datetime.datetime.now(datetime.timezone.utc) - date) < datetime.timedelta(minutes=1)
