"""Which listed images are used, without a data set or a config."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.base.layout import Layout
from datasets.base.splits import Splits

LAYOUT = Layout("", "train.txt", "test.txt", "labels.txt", val_list="val.txt")
TRAIN = [(f"t{i}.jpg", (i % 3,)) for i in range(12)]
TEST = [("a.jpg", (0, 2)), ("b.jpg", ())]


@pytest.fixture
def folder(tmp_path):
    for name, rows in (("train", TRAIN), ("test", TEST)):
        lines = (f"{path} {' '.join(map(str, labels))}\n" for path, labels in rows)
        (tmp_path / f"{name}.txt").write_text("".join(lines))
        for path, _ in rows:
            (tmp_path / path).touch()
    return tmp_path


def splits(folder):
    return Splits(LAYOUT, str(folder), 3)


def names(rows):
    return [entry.path for entry in rows]


def test_lists_that_are_there_are_read_in_order(folder):
    found = splits(folder)
    assert list(found.used) == ["train", "test"] and found.missing == {"train": 0, "test": 0}
    assert names(found.used["train"]) == [path for path, _ in TRAIN]
    targets = found.targets()
    assert np.array_equal(targets["test"].dense(), [[1, 0, 1], [0, 0, 0]])
    assert targets["train"].dense().dtype == np.float32
    assert np.array_equal(targets["train"].dense(), np.eye(3)[[i % 3 for i in range(12)]])
    (folder / "val.txt").write_text("a.jpg 1\n")
    assert names(splits(folder).used["val"]) == ["a.jpg"]


@pytest.mark.parametrize(
    ("skip", "unread", "left"),
    [(True, (), 11), (True, ["train"], 11), (False, ["train", "test"], 12)],
)
def test_absent_pictures_are_left_out_or_not_looked_for(folder, skip, unread, left):
    (folder / "t4.jpg").unlink()
    found = splits(folder)
    found.drop_absent("Mine", skip, unread)
    assert len(found.used["train"]) == left and found.missing == {"train": 12 - left, "test": 0}
    assert ("t4.jpg" in names(found.used["train"])) == (left == 12)
    assert len(found.listed["train"]) == 12


@pytest.mark.parametrize(
    ("absent", "skip", "advice"),
    [(["t4.jpg"], False, "set DATASET.MISSING skip"), (["a.jpg", "b.jpg"], True, "left for test")],
)
def test_absent_pictures_are_an_error_that_names_them(folder, absent, skip, advice):
    for name in absent:
        (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=advice) as refused:
        splits(folder).drop_absent("Mine", skip)
    assert str(folder / absent[0]) in str(refused.value)


def test_a_hold_out_and_shots_part_the_training_images(folder):
    found = splits(folder)
    found.hold_out(0.25, seed=1)
    held = found.used["val"]
    assert sorted(names(held) + names(found.used["train"])) == sorted(path for path, _ in TRAIN)
    assert np.bincount(held.labels.ids).tolist() == [1, 1, 1]
    found.keep_shots(2, seed=1)
    assert found.targets()["train"].counts().tolist() == [2, 2, 2]
    assert not set(names(found.used["train"])) & set(names(held))
    assert ["hold-out" in found.notes[0], "6 of 9 images" in found.notes[1]] == [True, True]
    with pytest.raises(ValueError, match="there is a validation list"):
        found.hold_out(0.25, seed=1)


def test_a_share_without_an_image_is_refused(folder):
    with pytest.raises(ValueError, match="holds none out"):
        splits(folder).hold_out(0.01, seed=1)
