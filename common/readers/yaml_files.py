"""Config files in yaml, read as data alone: no file that a user names can run anything.

What is read is a part of yaml: one mapping of words to numbers, text, True and False, None, lists
and further mappings. Everything else that yaml knows (python tags, anchors and aliases, several
documents, keys given twice, tabs) is refused by one line with the file and the line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Hashable
from pathlib import Path

import yaml

from common.files import open_regular

ENDINGS = (".yaml", ".yml")
# A config with every key is 6 KB, the names of 5,000 classes 100 KB. yaml is parsed at some
# 100 KB a second.
MAX_BYTES = 128 * 1024
MAX_DEPTH = 20  # of mappings and lists within each other; ours have 4
MAX_FILES = 100  # that one file may build on, each counted as often as it is listed
BASE = "_BASE_"  # key of the files that a file builds on

_LONGEST = 300  # characters of a complaint, which may quote the file
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_CORE = "tag:yaml.org,2002:"
# Numbers as Python writes them, so that 1e-3 is one; yaml 1.1 also takes 1:30 and 010.
_SCALARS = {
    "null": r"~|null|Null|NULL|",
    "bool": r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF",
    "int": r"[-+]?(0|[1-9][0-9_]{0,99})",
    "float": r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?"
    r"|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
}


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the few types above, and none of the rest."""

    yaml_implicit_resolvers = {
        None: [(_CORE + kind, re.compile(f"(?:{rule})\\Z")) for kind, rule in _SCALARS.items()]
    }
    yaml_constructors = {
        tag: make
        for tag, make in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.removeprefix(_CORE) in {*_SCALARS, "str", "seq", "map"}
    }
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node:
        """A node, unless it refers to another one or lies too deep."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            _refuse(
                "anchors (&name) and aliases (*name) are not read; write the value again", event
            )
        if isinstance(event, yaml.ScalarEvent) and _NO_TEXT.search(event.value):
            _refuse("an escape such as \\0 or \\ud800, which is no character of a text", event)
        if self.depth == MAX_DEPTH:
            _refuse(f"more than {MAX_DEPTH} lists or mappings within each other", event)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(
        self, node: yaml.MappingNode, deep: bool = False
    ) -> dict[Hashable, object]:
        """A mapping, unless a key is given twice or is no word."""
        lines: dict[str, int] = {}
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                _refuse(f"a key must be a word, got {key!r}", key_node)
            if key in lines:
                _refuse(f"{key} is given twice, first on line {lines[key]}", key_node)
            lines[key] = key_node.start_mark.line + 1
        return super().construct_mapping(node, deep)


def _refuse(rule: str, place: yaml.Node | yaml.Event) -> None:
    raise yaml.constructor.ConstructorError(None, None, rule, place.start_mark)


def read_yaml(path: str | os.PathLike[str]) -> dict[str, object]:
    """The mapping that a yaml file holds; empty for an empty file.

    Args:
        path: a regular file of at most `MAX_BYTES` in UTF-8 that ends in .yaml or .yml.

    Returns:
        Words to None, bool, int, float, str, and lists and dicts of these.

    Raises:
        ValueError: the file is no such yaml; one line with the file, the line and the rule.
        OSError: there is no such file, or it cannot be read.
    """
    name = os.fspath(path)
    if not name.lower().endswith(ENDINGS):
        raise ValueError(f"{name} must end in {' or '.join(ENDINGS)} to be read as a config file.")
    with open_regular(path) as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"{name} is larger than {MAX_BYTES // 1024} KB; it is no config file.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{name}, line {line}: not UTF-8; save the file as UTF-8.") from None
    tab = re.search(r"^ *\t", text, re.MULTILINE)
    if tab:
        line = text.count("\n", 0, tab.start()) + 1
        raise ValueError(f"{name}, line {line}: a tab; indent with spaces.")
    try:
        mapping = yaml.load(text, _Loader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ValueError(f"{name}, line {line}: the character {chr(error.character)!r}.") from None
    except yaml.MarkedYAMLError as error:
        raise ValueError(f"{name}, {_one_line(error)}.") from None
    except (ValueError, OverflowError) as error:  # of numbers in escapes and directives
        raise ValueError(f"{name}: not valid yaml ({error}).") from None
    if mapping is None:
        return {}
    if not isinstance(mapping, dict):
        raise ValueError(
            f"{name}, line 1: expected keys and values (KEY: value), got {type(mapping).__name__}."
        )
    return mapping


def _one_line(error: yaml.MarkedYAMLError) -> str:
    """PyYAML's complaint on one line, with the line's number in front."""
    mark = error.problem_mark or error.context_mark
    line = f"line {mark.line + 1}: " if mark else ""
    problem = error.problem or "not valid yaml"
    if "could not determine a constructor" in problem:
        problem = f"{problem.rpartition(' ')[2]} is not read; plain values, lists and keys are"
    elif "but found another document" in problem:
        problem = "a second document (---); a config file holds one"
    return line + " ".join(problem.split())[:_LONGEST]


def read_with_bases(path: str | os.PathLike[str]) -> list[tuple[Path, dict[str, object]]]:
    """A yaml file and those that its `_BASE_` lists, in the order in which they count.

    Args:
        path: see `read_yaml`; the paths in a file's `_BASE_` are relative to its folder.

    Returns:
        Path and mapping, without `_BASE_`, of each file; a file comes after what it builds on.

    Raises:
        ValueError: a file that `read_yaml` refuses, a `_BASE_` that is no list of paths, files
            that build on each other, or more than `MAX_FILES` of them.
        FileNotFoundError: a file does not exist.
    """
    found: list[tuple[Path, dict[str, object]]] = []
    _collect(Path(path), (), found)
    return found


def _collect(
    path: Path, chain: tuple[Path, ...], found: list[tuple[Path, dict[str, object]]]
) -> None:
    asking = f" {chain[-1]} builds on it ({BASE})." if chain else ""
    if not path.exists():
        raise FileNotFoundError(f"No config file {path}.{asking}")
    if any(path.samefile(earlier) for earlier in chain):
        raise ValueError(f"{chain[-1]}: {BASE} leads back to {path}; files cannot build in a ring.")
    if len(found) + len(chain) == MAX_FILES:
        raise ValueError(f"{chain[0]} builds on more than {MAX_FILES} files ({BASE}).")
    mapping = read_yaml(path)
    bases = mapping.pop(BASE, [])
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ValueError(f"{path}: {BASE} takes a list of files such as [a.yaml], got {bases!r}.")
    for base in bases:
        _collect(path.parent / base, (*chain, path), found)
    found.append((path, mapping))
