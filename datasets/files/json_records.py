"""Lists of objects in COCO's JSON files, checked one by one."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Any

from datasets.files.text_rows import MAX_PROBLEMS, Problem

_WORDS = {int: "integer", str: "text", int | str: "integer or text"}


def records(
    content: object,
    section: str,
    keys: Mapping[str, type | UnionType],
    problems: list[Problem],
) -> list[tuple[str, dict[str, Any]]]:
    """Return the well-formed records of a section, each with its place; report the others.

    Args:
        content: the decoded json.
        section: name of a list of objects.
        keys: that each object must have, and the type of each: int, str, or either.
        problems: what is malformed is added here.
    """
    found = content.get(section) if isinstance(content, dict) else None
    if not isinstance(found, list):
        problems.append(Problem(0, "", f"expected an object with a list {section!r}"))
        return []
    kept = []
    rule = "expected " + " and ".join(f"{key!r} ({_WORDS[kind]})" for key, kind in keys.items())
    for index, record in enumerate(found):
        if len(problems) >= MAX_PROBLEMS:
            break
        place = f"{section}[{index}]"
        if isinstance(record, dict) and all(_is(record.get(key), t) for key, t in keys.items()):
            kept.append((place, record))
        else:
            problems.append(Problem(0, place, rule))
    return kept


def _is(value: object, kind: type | UnionType) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
