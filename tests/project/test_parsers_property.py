"""Whatever bytes come: a parsed set, or the documented error."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from datasets.files.captions import read_captions
from datasets.files.class_freq import read_class_freq
from datasets.files.list_files import read_labels, read_list
from datasets.files.text_rows import DataFileError

CLASSES = 3
QUICK = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
blank = st.sampled_from([" ", "  ", "\t", ""])
word = st.one_of(
    st.text(min_size=0, max_size=8),
    st.sampled_from(["a.jpg", "my photo.png", "traffic light", "cat", "-1", "٣", "1e3", "\x00"]),
    st.integers(-2, 10**12).map(str),
)
row = st.lists(word, max_size=5).flatmap(
    lambda words: st.tuples(blank, st.sampled_from([" ", "\t", "  "])).map(
        lambda gaps: gaps[0] + gaps[1].join(words) + gaps[0]
    )
)
lines = st.lists(row, max_size=8).flatmap(
    lambda rows: st.sampled_from(["\n", "\r\n", "\r"]).map(lambda end: end.join(rows))
)
content = st.one_of(
    st.binary(max_size=200), lines.map(lambda text: text.encode("utf-8", "replace"))
)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "file.txt"


def outcome(read, *args):
    """The parsed value, or None where the documented error came, with its promises checked."""
    try:
        return read(*args)
    except DataFileError as error:
        assert str(args[0]) in str(error) and error.problems
        return None


@QUICK
@given(content)
@example(b"")
@example(b"cat 0\r\ntraffic light 1 \r\ndog 2")
def test_labels(path, data):
    path.write_bytes(data)
    names = outcome(read_labels, path)
    if names is not None:
        assert names and len(set(names)) == len(names)
        assert all(name == name.strip() and name for name in names)


@QUICK
@given(content)
@example(b"a.jpg 0 2 \nb c.jpg\n")
@example(b"a.jpg 3\n")
def test_lists(path, data):
    path.write_bytes(data)
    entries = outcome(read_list, path, CLASSES)
    if entries is not None:
        assert len({entry.path for entry in entries}) == len(entries)
        for entry in entries:
            assert entry.path and all(0 <= label < CLASSES for label in entry.labels)
            assert len(set(entry.labels)) == len(entry.labels)


@QUICK
@given(content)
@example(b"a.jpg a cat\na.jpg two cats\n")
def test_captions(path, data):
    path.write_bytes(data)
    captions = outcome(read_captions, path)
    if captions is not None:
        assert captions and all(text.strip() for texts in captions.values() for text in texts)


scalar = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=5))
record = st.dictionaries(
    st.sampled_from(["id", "file_name", "image_id", "caption", "x"]), scalar, max_size=4
)
document = st.recursive(
    scalar, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(word, inner))
)


@QUICK
@given(
    st.one_of(
        document,
        st.fixed_dictionaries(
            {"images": st.lists(record, max_size=4), "annotations": st.lists(record, max_size=4)}
        ),
    )
)
def test_captions_json(tmp_path, data):
    path = tmp_path / "captions.json"
    path.write_text(json.dumps(data))
    captions = outcome(read_captions, path)
    if captions is not None:
        assert all(isinstance(text, str) for texts in captions.values() for text in texts)


@QUICK
@given(
    st.one_of(
        st.binary(max_size=100),
        st.recursive(scalar, lambda inner: st.lists(inner, max_size=3)).map(pickle.dumps),
        st.lists(st.integers(-3, 100), max_size=5).map(
            lambda counts: pickle.dumps({"class_freq": np.array(counts)})
        ),
    )
)
def test_class_freq(tmp_path, data):
    path = tmp_path / "class_freq.pkl"
    path.write_bytes(data)
    counts = outcome(read_class_freq, path)
    if counts is not None:
        assert counts.dtype == np.int64 and (counts >= 0).all()
