from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.readers.yaml_files import MAX_BYTES, read_with_bases, read_yaml
from configuration import build_cfg, default_cfg, flatten
from train import build_parser

EVIL = "open({marker!r}, 'w').close()\nfrom yacs.config import CfgNode\ncfg = CfgNode()\n"


@pytest.fixture
def write(tmp_path):
    def written(content, name="my.yaml"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


REFUSED = {  # content, and what the message says after the file's name
    "a key twice": ("A: 1\nB: 2\nA: 3\n", "line 3: A is given twice, first on line 1"),
    "an inner key twice": ("A:\n  B: 1\n  B: 1\n", "line 3: B is given twice, first on line 2"),
    "a ring": ("A: &a\n  B: *a\n", "line 1: anchors"),
    "an alias": ("A: &a 1\nB: *a\n", "line 1: anchors"),
    "laughs": ("A: &a [x, x]\nB: &b [*a, *a]\nC: [*b, *b]\n", "line 1: anchors"),
    "an unknown alias": ("A: 1\nB: *a\n", "line 2: anchors"),
    "a merge": ("A:\n  !!merge <<: {B: 1}\n", "line 2: .*is not read"),
    "two documents": ("A: 1\n---\nB: 2\n", "line 2: a second document"),
    "a python call": ("A: !!python/object/apply:os.system [ls]\n", "line 1: .*is not read"),
    "a python name": ("A: 1\nB: !!python/name:os.system\n", "line 2: .*is not read"),
    "a python module": ("!!python/module:os\n", "line 1: .*is not read"),
    "a foreign tag": ("A: !mine 1\n", "line 1: '!mine' is not read"),
    "bytes": ("A: !!binary aGVsbG8=\n", "line 1: .*is not read"),
    "a set": ("A: !!set {a, b}\n", "line 1: .*is not read"),
    "a tab": ("A:\n\tB: 1\n", "line 2: a tab"),
    "a tab after spaces": ("A:\n  B: 1\n  \tC: 1\n", "line 3: a tab"),
    "latin-1": ("A: 1\nB: d\xe9j\xe0\n".encode("latin-1"), "line 2: not UTF-8"),
    "UTF-16": ("A: 1\n".encode("utf-16"), "line 1: not UTF-8"),
    "a control character": (b"A: 1\nB: \x07\n", r"line 2: the character '\\x07'"),
    "a zero": (b"A: 1\x00\n", "line 1: the character"),
    "an escaped zero": ('A: "a\\0b"\n', "line 1: an escape"),
    "half a character": ('A: "\\ud800"\n', "line 1: an escape"),
    "no character": ('A: "\\Uffffffff"\n', "not valid yaml"),
    "a list": ("- A\n- B\n", "line 1: expected keys and values .*got list"),
    "a word": ("A\n", "line 1: expected keys and values .*got str"),
    "a number as key": ("A: 1\n2: 3\n", "line 2: a key must be a word, got 2"),
    "a list as key": ("? [a, b]\n: 1\n", "line 1: a key must be a word"),
    "True as key": ("yes: 1\n", "line 1: a key must be a word, got True"),
    "an open bracket": ("A: [1, 2\nB: 3\n", "line"),
    "an open quote": ("A: 'x\n", "line"),
    "a wrong indentation": ("A: 1\n  B: 2\n", "line 2"),
    "a forged version": ("%YAML 9.1\n---\nA: 1\n", "line 1"),
    "a great version": (f"%YAML {'9' * 5000}.1\n---\nA: 1\n", "my.yaml"),
    "depth": ("A: " + "[" * 100_000 + "\n", "line 1: more than 20"),
    "deep mappings": ("A: " + "{a: " * 30_000 + "\n", "line 1: more than 20"),
    "size": ("A: 1\n" + "#" * MAX_BYTES, "is larger than 128 KB"),
    "a picture": (b"\x89PNG\r\n\x1a\n\x00", "line 1: not UTF-8"),
}


@pytest.mark.parametrize("content, message", REFUSED.values(), ids=REFUSED)
def test_whatever_is_no_plain_mapping_is_refused_on_one_line(content, message, write):
    path = write(content)
    with pytest.raises(ValueError, match=message) as error:
        read_yaml(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_pipe_and_a_folder_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("pipe.yaml", "folder.yaml"):
        with pytest.raises(OSError, match="expected a file"):
            read_yaml(tmp_path / name)


@pytest.mark.parametrize("name", ["evil.py", "evil.json", "evil", "evil.yaml.py", "evil.PY"])
def test_nothing_but_yaml_is_opened(name, write, tmp_path, capsys):
    marker = tmp_path / "executed"
    path = write(EVIL.format(marker=str(marker)), name)
    below = write(f"_BASE_: [{name}]\n")
    for file in (path, below):
        with pytest.raises(ValueError, match=f"{name} must end in .yaml or .yml"):
            build_cfg(build_parser().parse_args(["--no-train", "--config-file", str(file)]))
    assert not marker.exists()


def test_plain_values(write):
    text = (
        "A: 1\nB: -2.5\nC: 1e-3\nD: 5E4\nE: .inf\nF: true\nG: off\nH: null\nI:\nJ: 'off'\n"
        'K: 2020-01-01\nL: 1:30\nM: 010\nN: [1, [a, 2.0]]\nO: {P: {Q: "x\\ty"}}\nR: (32, 32)\n'
        "S: 1_000\nT: 1.\nU: é\nV: 1e5x\nW: =\n"
    )
    assert read_yaml(write(text)) == {
        **{"A": 1, "B": -2.5, "C": 0.001, "D": 50000.0, "E": float("inf"), "F": True, "G": False},
        **{"H": None, "I": None, "J": "off", "K": "2020-01-01", "L": "1:30", "M": "010"},
        **{"N": [1, ["a", 2.0]], "O": {"P": {"Q": "x\ty"}}, "R": "(32, 32)", "S": 1000, "T": 1.0},
        **{"U": "é", "V": "1e5x", "W": "="},
    }


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "\ufeff"])
def test_an_empty_file_sets_nothing(text, write):
    assert read_yaml(write(text)) == {}


def test_what_a_run_writes_is_read_back(write):
    cfg = default_cfg()
    again = dict(flatten(read_yaml(write(cfg.dump()))))
    expected = {k: list(v) if isinstance(v, tuple) else v for k, v in flatten(cfg)}
    assert again == expected


def test_bases_come_first_and_may_be_shared(write, tmp_path):
    write("A: 1\n", "ground.yaml")
    write("_BASE_: [ground.yaml]\nA: 2\n", "left.yml")
    write("_BASE_: [ground.yaml]\n", "right.yaml")
    found = read_with_bases(write("_BASE_: [left.yml, right.yaml]\nB: 3\n"))
    names = [path.name for path, _ in found]
    assert names == ["ground.yaml", "left.yml", "ground.yaml", "right.yaml", "my.yaml"]
    assert [mapping for _, mapping in found] == [{"A": 1}, {"A": 2}, {"A": 1}, {}, {"B": 3}]


@pytest.mark.parametrize("base", ["a.yaml", "3", "{a: b}", "[1]", "[[a.yaml]]", "null"])
def test_a_base_that_is_no_list_of_files(base, write):
    with pytest.raises(ValueError, match=r"my.yaml: _BASE_ takes a list of files"):
        read_with_bases(write(f"_BASE_: {base}\n"))


def test_files_that_build_in_a_ring(write):
    write("_BASE_: [my.yaml]\n", "other.yaml")
    with pytest.raises(ValueError, match=r"other.yaml: _BASE_ leads back to .*my.yaml"):
        read_with_bases(write("_BASE_: [other.yaml]\n"))


def test_files_that_multiply(write, tmp_path):
    write("A: 1\n", "f0.yaml")
    for level in range(1, 9):
        write(f"_BASE_: [{', '.join([f'f{level - 1}.yaml'] * 10)}]\n", f"f{level}.yaml")
    with pytest.raises(ValueError, match="f8.yaml builds on more than 100 files"):
        read_with_bases(tmp_path / "f8.yaml")


def test_an_absent_base_says_who_asks_for_it(write):
    with pytest.raises(FileNotFoundError, match=r"gone.yaml.*my.yaml builds on it"):
        read_with_bases(write("_BASE_: [gone.yaml]\n"))


@given(
    st.one_of(
        st.binary(max_size=200), st.text(alphabet="ab:-[]{}&*!%#'\"\n \t|>?,1.e0<=~@", max_size=80)
    )
)
def test_any_file_is_read_or_refused_with_its_name(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        assert isinstance(read_yaml(path), dict)
    except ValueError as error:
        assert str(path) in str(error) and "\n" not in str(error)
