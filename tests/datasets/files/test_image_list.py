"""Lists of images in two buffers: sequences as of tuples."""

from __future__ import annotations

import posixpath

import numpy as np
import pytest

from datasets.files.image_list import ImageList, ListEntry, Paths, join

ENTRIES = [
    ListEntry("a/b.jpg", (3, 1), 1),
    ListEntry("straße/é.jpg", (), 2),
    ListEntry("c", (0,), 5),
]


def test_a_sequence_of_entries():
    images = ImageList.of(ENTRIES)
    assert list(images) == ENTRIES and images[-1] == ENTRIES[-1] and len(images) == 3
    assert list(images[1:]) == ENTRIES[1:] and images.paths[:2] == ["a/b.jpg", "straße/é.jpg"]
    assert list(images.take(np.array([2, 0, 2]))) == [ENTRIES[i] for i in (2, 0, 2)]
    assert list(images.take(np.array([True, False, True]))) == [ENTRIES[0], ENTRIES[2]]
    with pytest.raises(IndexError):
        images[3]


def test_lists_are_joined():
    parts = [ImageList.of(part) for part in (ENTRIES[:1], [], ENTRIES[1:])]
    assert list(join(parts)) == ENTRIES and list(join([])) == []


def test_hashes_are_equal_where_normal_forms_are():
    rng = np.random.default_rng(0)
    parts = ["a", "b", "..", ".", "", "jpg.x", ".c"]
    paths = ["/".join(rng.choice(parts, rng.integers(1, 5))) for _ in range(300)]
    paths = [path for path in paths if path]  # as rows have
    paths += ["x" * 5000, "x" * 4999 + "y", "x" * 5001]  # longer than there are weights
    numbers = Paths.of(paths).hashes()
    assert len(set(numbers.tolist())) == len({posixpath.normpath(path) for path in paths})
    assert len(set(zip(numbers.tolist(), map(posixpath.normpath, paths), strict=True))) == len(
        set(numbers.tolist())
    )


@pytest.mark.parametrize("second", ["a/b.jpg", "a//b.jpg", "./a/b.jpg", "a/c/../b.jpg"])
def test_repeated_files_are_found(second):
    assert ImageList.of([*ENTRIES, ListEntry(second, (), 9)]).repeated()
    assert not ImageList.of(ENTRIES).repeated()


def test_alike_hashes_alone_are_no_repetition(monkeypatch):
    monkeypatch.setattr(Paths, "hashes", lambda self: np.zeros(len(self), np.uint64))
    assert not ImageList.of(ENTRIES).repeated()
