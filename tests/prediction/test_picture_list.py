from __future__ import annotations

import os

import pytest

from prediction import list_pictures


@pytest.fixture
def folder(tmp_path):
    for name in ("b.jpg", "a.PNG", "notes.txt", "sub/c.webp", "sub/deep/d.jpeg", "sub/e.eps"):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "pictures"


def test_folders_are_searched_at_any_depth_in_order(folder):
    found = list_pictures([folder])
    names = [os.path.relpath(path, folder) for path in found.paths]
    assert names == ["a.PNG", "b.jpg", "sub/c.webp", "sub/deep/d.jpeg"]
    assert found.left_out == 2


def test_a_path_comes_once_however_it_is_spelled(folder, monkeypatch):
    monkeypatch.chdir(folder)
    places = ["sub/deep/d.jpeg", folder / "sub", "./sub/../sub/c.webp", "b.jpg"]
    found = list_pictures(places).paths
    assert found == ["sub/deep/d.jpeg", str(folder / "sub/c.webp"), "b.jpg"]


def test_files_are_listed_whatever_they_are(folder):
    named = [str(folder / "notes.txt"), str(folder / "absent.jpg")]
    assert list_pictures(named).paths == named


def test_nothing_to_predict_is_an_error(folder):
    empty = folder / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match=r"no picture in .*empty.*\.jpg"):
        list_pictures([empty])
    with pytest.raises(ValueError, match="an empty list"):
        list_pictures([])


def test_a_folder_that_cannot_be_read_is_an_error(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="Permission denied"):
        list_pictures([folder])
