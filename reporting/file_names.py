"""Names of a report's files, safe whatever a class or a method is called."""

from __future__ import annotations

_LONGEST = 40


def numbered_name(number: int, text: str) -> str:
    """A file's name without its suffix: "003_traffic_light" of 3 and "traffic light".

    Args:
        number: tells names apart that are alike without their other characters.
        text: of which ASCII letters and digits are kept.
    """
    kept = "".join(c if c.isascii() and c.isalnum() else "_" for c in text).strip("_")
    return f"{number:03}_{kept[:_LONGEST]}".strip("_")
