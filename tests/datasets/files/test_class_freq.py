from __future__ import annotations

import os
import pickle
import pickletools
import random
import tracemalloc

import numpy as np
import pytest

from datasets.files.class_freq import read_class_freq
from datasets.files.text_rows import DataFileError

COUNTS = np.array([775, 34, 4, 0], dtype=np.int64)


@pytest.fixture
def write(tmp_path):
    def to_file(content: object, protocol: int = 2):
        path = tmp_path / "class_freq.pkl"
        is_bytes = isinstance(content, bytes)
        path.write_bytes(content if is_bytes else pickle.dumps(content, protocol))
        return path

    return to_file


def published(counts: object = COUNTS) -> dict:
    """Return a table with the keys of the published files."""
    return {
        "gt_labels": [np.eye(4, dtype=np.int64)[0], np.eye(4, dtype=np.int64)[2]],
        "class_freq": counts,
        "neg_class_freq": 1142 - COUNTS,
        "condition_prob": np.random.default_rng(0).random((4, 4)),
    }


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_counts_equal_those_of_the_plain_unpickler(write, protocol):
    path = write(published(), protocol)
    counts = read_class_freq(path)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, pickle.loads(path.read_bytes())["class_freq"])


@pytest.mark.parametrize("dtype", ["<i8", ">i8", "<i4", ">u2", "u1"])
def test_any_integer_type_and_byte_order(write, dtype):
    counts = np.array([200, 3, 0], dtype=dtype)
    np.testing.assert_array_equal(read_class_freq(write(published(counts))), [200, 3, 0])


def test_a_list_of_numbers_will_do(write):
    np.testing.assert_array_equal(read_class_freq(write({"class_freq": [3, 1]})), [3, 1])


class Evil:
    def __init__(self, flag: str) -> None:
        self.flag = flag

    def __reduce__(self):
        return os.mkdir, (self.flag,)


def test_code_in_the_file_is_not_run(write, tmp_path):
    flag = tmp_path / "flag"
    path = write(published() | {"more": Evil(str(flag))})
    with pytest.raises(DataFileError, match=r"asks for \w+\.mkdir, which is refused"):
        read_class_freq(path)
    assert not flag.exists()


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (published(np.array(["a"], dtype=object)), "arrays of type 'O8' are refused"),
        (published(np.array([1.5])), r"must be a vector of integers >= 0, got float64 \(1,\)"),
        (published(np.ones((2, 2), dtype=int)), r"got int64 \(2, 2\)"),
        (published(np.array([-1])), "integers >= 0"),
        ({"other": 1}, "class_freq"),
        ([1, 2], "class_freq"),
        (b"", "class_freq"),
        (b"a,b\n1,2\n", "class_freq"),
    ],
)
def test_other_content_is_refused(write, content, rule):
    with pytest.raises(DataFileError, match=rule):
        read_class_freq(write(content))


def test_a_huge_memo_number_takes_no_memory(write):
    path = write(b"\x80\x02}r\xff\xff\xff\x7f.")
    tracemalloc.start()
    with pytest.raises(DataFileError, match="no array of numbers"):
        read_class_freq(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_damaged_files_are_read_or_refused(write):
    content = pickle.dumps(published(), 2)
    assert {op.name for op, *_ in pickletools.genops(content)} >= {"GLOBAL", "REDUCE", "BUILD"}
    rng = random.Random(0)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(400):
        damaged = bytearray(content)
        for _ in range(rng.randint(1, 3)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        if rng.random() < 0.2:
            del damaged[rng.randrange(len(damaged)) :]
        try:
            counts = read_class_freq(write(bytes(damaged)))
            assert counts.dtype == np.int64 and counts.ndim == 1
            outcomes["read"] += 1
        except DataFileError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 20
