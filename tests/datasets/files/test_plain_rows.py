"""Rows cut together: as one by one, or not at all."""

from __future__ import annotations

import random

import pytest

from datasets.files import text_rows
from datasets.files.list_files import ListEntry, read_images
from datasets.files.plain_rows import plain_rows
from datasets.files.text_rows import DataFileError


def naive(content: bytes, classes: int) -> list[ListEntry]:
    """Rows of a plain list, by Python's own means."""
    rows = (row.split() for row in content.decode().split("\n"))
    return [
        ListEntry(words[0], tuple(map(int, words[1:])), line)
        for line, words in enumerate(rows, start=1)
        if words
    ]


def test_like_rows_one_by_one():
    rng = random.Random(0)
    for _ in range(50):
        rows = []
        for number in range(rng.randrange(1, 9)):
            ids = rng.sample(range(12_000), rng.randrange(4))
            words = [f"{rng.choice('aé')}/{number}.jpg", *map(str, ids)]
            blanks = rng.choice(["", " ", "\t"])
            row = blanks + rng.choice([" ", "\t", "  "]).join(words) + blanks
            rows += rng.choice([[row], [row], ["", row], [" \t", row]])
        content = (rng.choice(["\n", "\r\n"]).join(rows) + "\n").encode()
        assert list(plain_rows(content, 12_000, 1)) == naive(content, 12_000)


@pytest.mark.parametrize(
    "row",
    [
        *(b"a.jpg 12", b"a.jpg -1", b"a.jpg x", b"a.jpg 1 2 1", b"a.jpg 0000000001", b"a b.jpg 1"),
        *(b"a.jpg,1", b"a.jpg;1 2", b"\xff.jpg 1", b"a.jpg\x01 1", b"a.jpg 1\rb.jpg 2"),
    ],
)
def test_what_is_not_plain_is_left_to_others(row):
    assert plain_rows(b"c.jpg 1\n" + row + b"\nd.jpg 2\n", 12, 1) is None


def test_pieces_are_one_list(tmp_path, monkeypatch):
    """Pieces end anywhere in a row; line numbers go on, also in pieces that are not plain."""
    rows = [f"my pictures/{i}.jpg {i % 3}" if i % 7 == 0 else f"{i}.jpg" for i in range(60)]
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode())
    expected = list(read_images(path, 3))
    for size in (8, 37, 200):
        monkeypatch.setattr(text_rows, "_PIECE", size)
        assert list(read_images(path, 3)) == expected
    assert [entry.line for entry in expected] == list(range(1, 61))
    path.write_text("\n".join([*rows, "59.jpg 7 7"]))
    with pytest.raises(DataFileError, match="line 61: '59.jpg 7 7': id 7 is unknown.*line 60"):
        read_images(path, 3)
