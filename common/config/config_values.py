"""Set keys of a config from yaml files and from words: unknown keys and wrong types are refused."""

from __future__ import annotations

import contextlib
from ast import literal_eval
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from yacs.config import CfgNode

from common.choices import nearest
from common.config.former_spellings import advice, gone, in_words
from common.readers.yaml_files import read_with_bases

_SHOWN = 200  # characters of a value in a message

Given = list[tuple[str, str]]  # where a key was set, and the key


def merge_yaml(
    cfg: CfgNode, path: Path, defaults: dict[str, object], undeclared: tuple[str, ...] = ()
) -> Given:
    """Set the keys of a yaml file, after those of the files that its `_BASE_` lists.

    Args:
        cfg: changed in place.
        path: the file; paths in its `_BASE_` are relative to its folder.
        defaults: see `override`; keys that the file declares are added.
        undeclared: nodes ("TRAINER.MAPLE.") of methods whose modules declare no keys, as others
            declare theirs in their train.py. Here the yaml file does.

    Returns:
        What the files have set.

    Raises:
        FileNotFoundError: the file, or one that it builds on, does not exist.
        ValueError: an unknown key, a value of another type, or a file that `read_yaml` refuses.
    """
    given = []
    for file, mapping in read_with_bases(path):
        given += merge_pairs(cfg, list(flatten(mapping)), defaults, str(file), undeclared)
    return given


def merge_pairs(
    cfg: CfgNode,
    pairs: Sequence[tuple[str, object]],
    defaults: dict[str, object],
    source: str,
    undeclared: tuple[str, ...] = (),
) -> Given:
    """Set the keys of one file; the arguments are those of `override` and `merge_yaml`."""
    for key, value in pairs:
        if key.startswith(undeclared) and key not in defaults:
            *parents, name = key.split(".")
            parent = cfg
            for part in parents:
                parent = parent.setdefault(part, CfgNode())
            parent[name] = defaults[key] = _converted(key, value, None, source)
    return override(cfg, pairs, defaults, source)


def override(
    cfg: CfgNode,
    pairs: Sequence[tuple[str, object]],
    defaults: Mapping[str, object],
    source: str,
) -> Given:
    """Set keys of a config.

    Args:
        cfg: changed in place.
        pairs: dotted key and value; text is read as Python where the key is not text itself.
        defaults: every key with the value whose type counts; None takes any. What an earlier file
            has set does not matter: after its 1 a later 0.5 is still welcome.
        source: where the pairs come from, for messages.

    Returns:
        What has been set.

    Raises:
        ValueError: an unknown key (the nearest valid one is named) or a value of another type.
    """
    for key, value in pairs:
        if gone(key):
            raise ValueError(f"{source}: there is no key {key} any more: {gone(key)}.")
        if key not in defaults:
            close = nearest(key, defaults, cutoff=0.0)
            raise ValueError(f"{source}: unknown config key {key!r}. Did you mean {close!r}?")
        *path, name = key.split(".")
        node = cfg
        for part in path:
            node = node[part]
        node[name] = _converted(key, in_words(key, value), defaults[key], source)
    return [(source, key) for key, _ in pairs]


def paired(words: Sequence[str], defaults: Mapping[str, object]) -> list[tuple[str, str]]:
    """Keys and values of a command line.

    Args:
        words: key, value, key, value, ...
        defaults: every key.

    Raises:
        ValueError: a word is left over, or one joins key and value by "=".
    """
    for word in words:
        key, equals, value = word.partition("=")
        if equals and key in defaults:
            raise ValueError(f"{word}: key and value are two words. Write: {key} {value}")
    if len(words) % 2:
        raise ValueError(
            f"Overrides come in pairs KEY VALUE, got {len(words)} words: {' '.join(words)}"
        )
    return list(zip(words[::2], words[1::2], strict=True))


def flatten(node: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Dotted keys of a config, each with its value."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _converted(key: str, value: object, default: object, source: str) -> object:
    """`value` in the type of the key's default."""
    wanted = type(default)
    if isinstance(value, str) and wanted is not str:
        # What cannot be read stays text; the type check below reports it.
        with contextlib.suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            value = literal_eval(value)
    if isinstance(value, wanted) and not (wanted is int and isinstance(value, bool)):
        return value
    if wanted is float and type(value) is int:
        with contextlib.suppress(OverflowError):
            return float(value)
    if wanted in (list, tuple) and isinstance(value, (list, tuple)):
        return wanted(value)
    if wanted is tuple and isinstance(value, (int, float, str)):
        return (value,)
    if default is None:
        return value
    quotes = f" Write {key}: 'off' (in quotes)." if wanted is str and value is False else ""
    raise ValueError(
        f"{source}: {key} takes {wanted.__name__} such as {default!r}, got {repr(value)[:_SHOWN]} "
        f"({type(value).__name__}).{quotes or advice(key, value)}"
    )
