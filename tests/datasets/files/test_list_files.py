from __future__ import annotations

import random

import pytest

from datasets.files.list_files import ListEntry, read_labels, read_list, split_path
from datasets.files.text_rows import SHOWN_PROBLEMS, DataFileError, Problem

LABELS = b"person 0\r\ntraffic light 1 \r\nbicycle 2\r\ntv 3"
IMAGES = b"train/a.jpg 0 3 1 \nmy photos/b c.PNG 2\nval/no labels.jpeg\n\nraw_7 1\n"


@pytest.fixture
def write(tmp_path):
    def to_file(content: bytes | str):
        path = tmp_path / "list.txt"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return to_file


def problems_of(read, *args) -> list[Problem]:
    with pytest.raises(DataFileError) as caught:
        read(*args)
    return caught.value.problems


def test_a_long_row_takes_no_longer_than_its_length(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("a.jpg " + " ".join(map(str, [*range(200_000), 7])))
    with pytest.raises(DataFileError, match="id 7 is repeated"):
        read_list(path, 200_000)


def test_what_is_no_list_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"a.jpg x\n" * 20_000)
    with pytest.raises(DataFileError, match="at least 10000 problems"):
        read_list(path, 3)


def test_labels_are_read_from_the_right(write):
    assert read_labels(write(LABELS)) == ["person", "traffic light", "bicycle", "tv"]


def test_labels_are_ordered_by_id_not_by_row(write):
    assert read_labels(write("c 2\na 0\n\nb\t1\n")) == ["a", "b", "c"]


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_byte_order_mark_and_line_endings_do_not_matter(write, prefix, newline):
    path = write(prefix + newline.join(["é 0".encode(), b"", b"  b 1  "]))
    assert read_labels(path) == ["é", "b"]


@pytest.mark.parametrize(
    ("content", "line", "rule"),
    [
        ("a 0\nb", 2, "expected a name and an id"),
        ("a 0\n1", 2, "expected a name and an id"),
        ("a 0\nb x", 2, "'x' is not an integer id, expected 0..1"),
        ("a 0\nb 1.0", 2, "not an integer id"),
        ("a 0\nb -1", 2, "id -1 is negative"),
        ("a 0\nb 2", 2, "id 2 is unknown, expected 0..1"),
        ("a 0\nb 0", 2, "id 0 is already used on line 1"),
        ("a 0\n\na 1", 3, "name 'a' is already used on line 1"),
        ("a_b 0\na b 1", 2, "name 'a b' is already used on line 1"),
        ("a 0\nb " + "9" * 5000, 2, "not an integer id"),
        ("a 0\nb\x00 1", 2, "control character"),
        (b"a 0\n\xff\xfe 1", 2, "byte 1 is not UTF-8"),
        ("", 0, "the file is empty"),
        ("\n \r\n", 0, "the file is empty"),
    ],
)
def test_labels_rules(write, content, line, rule):
    (problem,) = problems_of(read_labels, write(content))
    assert problem.line == line
    assert rule in problem.rule


def test_list_keeps_order_lines_and_blanks_in_paths(write):
    assert read_list(write(IMAGES), 4) == [
        ListEntry("train/a.jpg", (0, 3, 1), 1),
        ListEntry("my photos/b c.PNG", (2,), 2),
        ListEntry("val/no labels.jpeg", (), 3),
        ListEntry("raw_7", (1,), 5),
    ]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("a.jpg 3", ("a.jpg", "3")),
        ("a  b.jpg\t1 2", ("a  b.jpg", "1 2")),
        ("a 2.jpg", ("a 2.jpg", "")),
        ("a.jpgs/b.jpg 1", ("a.jpgs/b.jpg", "1")),
        ("x/a.jpg a cat beside cat.jpg", ("x/a.jpg", "a cat beside cat.jpg")),
        ("2008_000023 14 4", ("2008_000023", "14 4")),
        ("", ("", "")),
    ],
)
def test_split_path(row, expected):
    assert split_path(row) == expected


@pytest.mark.parametrize(
    ("content", "line", "rule"),
    [
        ("a.jpg 0\nb.jpg 4", 2, "id 4 is unknown, expected 0..3"),
        ("a.jpg -1", 1, "id -1 is negative"),
        ("a.jpg 1 x 2", 1, "'x' is not an integer id"),
        ("a.jpg 1.5", 1, "'1.5' is not an integer id"),
        ("a.jpg 1,2", 1, "'1,2' is not an integer id"),
        ("a.jpg +1", 1, "'+1' is not an integer id"),
        ("a.jpg 1_0", 1, "'1_0' is not an integer id"),
        ("a.jpg ３", 1, "'３' is not an integer id"),
        ("a.jpg 2 1 2", 1, "id 2 is repeated"),
        ("a.jpg 1\nb.jpg\na.jpg 2", 3, "already listed on line 1"),
        ("i/a.jpg 1\ni/./a.jpg 2", 2, "already listed on line 1"),
        ("i//a.jpg 1\nj/../i/a.jpg", 2, "already listed on line 1"),
        ("a.jpg,1,2", 1, "parted by blanks, as in 'a.jpg 3 7', not by commas"),
        ("i/a b.png;3", 1, "not by commas"),
        ("a.jpg 1\n\nb.jpg\x0c 2", 3, "control character"),
        (" \n", 0, "the file is empty"),
    ],
)
def test_list_rules(write, content, line, rule):
    (problem,) = problems_of(read_list, write(content), 4)
    assert problem.line == line
    assert rule in problem.rule


def test_every_problem_is_gathered_and_twenty_are_shown(write):
    path = write("".join(f"{i}.jpg 9\n" for i in range(SHOWN_PROBLEMS + 3)) + "ok.jpg 1\n")
    with pytest.raises(DataFileError) as caught:
        read_list(path, 4)
    message = str(caught.value)
    assert len(caught.value.problems) == SHOWN_PROBLEMS + 3
    assert f"{path}: 23 problems" in message
    assert "line 1: '0.jpg 9': id 9 is unknown, expected 0..3" in message
    assert message.count("line ") == SHOWN_PROBLEMS
    assert message.endswith("... and 3 more")


def test_one_row_tells_all_that_is_wrong_with_it(write):
    second = problems_of(read_list, write("a.jpg 1\na.jpg 7 -2 1 1"), 4)[0]
    for rule in ("id 7 is unknown", "id -2 is negative", "already listed on line 1"):
        assert rule in second.rule


def test_long_rows_are_cut_in_the_message(write):
    with pytest.raises(DataFileError) as caught:
        read_list(write("a.jpg " + "x" * 5000), 4)
    shown = str(caught.value).splitlines()[1].split("': '")[0]
    assert len(shown) < 130


def mutate(content: bytes, rng: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            data[at:at] = rng.choice(
                [b" ", b"\n", b"\r", b"\t", b"-", b"9", b"\x00", b"\xff", b"a"]
            )
        elif kind == 1:
            del data[at : at + rng.randint(1, 8)]
        elif kind == 2 and data:
            data[min(at, len(data) - 1)] = rng.randrange(256)
        else:
            data[at:at] = bytes(data[at : at + 20])
    return bytes(data)


@pytest.mark.parametrize("kind", ["labels", "list"])
def test_any_content_is_parsed_or_refused_with_its_places(write, kind):
    rng = random.Random(0)
    outcomes = {"parsed": 0, "refused": 0}
    for _ in range(600):
        path = write(mutate(LABELS if kind == "labels" else IMAGES, rng))
        try:
            if kind == "labels":
                names = read_labels(path)
                assert len(set(names)) == len(names) > 0
                assert all(name and name == name.strip(" \t") for name in names)
            else:
                entries = read_list(path, 4)
                assert len({entry.path for entry in entries}) == len(entries) > 0
                for entry in entries:
                    assert entry.path and len(set(entry.labels)) == len(entry.labels)
                    assert all(0 <= label < 4 for label in entry.labels)
            outcomes["parsed"] += 1
        except DataFileError as error:
            assert error.problems and str(path) in str(error)
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 50  # both outcomes are met


@pytest.mark.parametrize("seed", range(3))
def test_a_written_list_is_read_back(write, seed):
    rng = random.Random(seed)
    expected, rows = [], []
    for line in range(1, 200):
        path = f"{rng.choice(['a', 'b c', 'é 3'])}/{line}.jpg"
        labels = tuple(rng.sample(range(30), rng.randrange(5)))
        expected.append(ListEntry(path, labels, line))
        rows.append(" ".join([path, *map(str, labels)]) + " " * rng.randrange(3))
    assert read_list(write(rng.choice(["\n", "\r\n"]).join(rows)), 30) == expected
