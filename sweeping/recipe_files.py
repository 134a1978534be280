"""Recipes as yaml files: the recommended one with some keys set anew."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from common.config.config_values import flatten
from common.files import write_text
from common.readers.yaml_files import read_with_bases


def recipe_text(base: Path | None, changes: Mapping[str, object], about: str) -> str:
    """A recipe that needs no other file.

    Args:
        base: the recipe that it starts from; None: nothing.
        changes: dotted keys and their values.
        about: a line on where it comes from.
    """
    keys: dict[str, object] = {}
    for _, mapping in read_with_bases(base) if base else ():
        keys |= dict(flatten(mapping))
    nested: dict[str, Any] = {}
    for key, value in {**keys, **changes}.items():
        *path, name = key.split(".")
        node = nested
        for part in path:
            node = node.setdefault(part, {})
        node[name] = value
    return f"# {about}\n{yaml.safe_dump(nested, sort_keys=False)}"


def keep_text(path: Path, text: str) -> None:
    """Write a recipe, unless it is there already.

    Args:
        path: the file.
        text: of `recipe_text`.

    Raises:
        ValueError: another one is there.
    """
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        raise ValueError(
            f"{path} holds another recipe than this sweep would write, so a file that the sweep "
            "builds on has changed. Move the sweep's folder away to start anew."
        )
    write_text(path, text)
