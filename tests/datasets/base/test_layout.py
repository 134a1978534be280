from __future__ import annotations

import pytest

from datasets.base.layout import Layout

LAYOUT = Layout("mine", "train.txt", "test.txt", "labels.txt", captions="c.txt")


def test_a_complete_folder_passes_without_the_optional_files(tmp_path):
    for name in ("train.txt", "test.txt", "labels.txt"):
        (tmp_path / name).touch()
    LAYOUT.check(str(tmp_path), "ListLT")


def test_the_error_shows_the_layout_and_what_is_there(tmp_path):
    (tmp_path / "train.txt").touch()
    (tmp_path / "labels.txt").mkdir()
    with pytest.raises(FileNotFoundError) as caught:
        LAYOUT.check(str(tmp_path), "ListLT")
    message = str(caught.value)
    assert f"ListLT: test.txt, labels.txt not found in {tmp_path}\n" in message
    assert 'train.txt: training images, rows "path id id ..." (found)' in message
    assert "test.txt: test images, likewise (absent)" in message
    assert "(optional, absent)" in message
    assert "The folder above mine is given as --root" in message


def test_the_error_says_that_the_folder_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="which is not a folder"):
        LAYOUT.check(str(tmp_path / "nowhere"), "ListLT")
