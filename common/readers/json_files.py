"""JSON files as data, with one clear error for whatever is wrong with them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from common.files import read_text

# results.json of 5,000 classes has 1 MB. A list in JSON takes up to 25 times its bytes in memory.
MAX_BYTES = 16 << 20


def read_json(
    path: str | os.PathLike[str],
    most: int = MAX_BYTES,
    hook: Callable[[dict[str, Any]], object] | None = None,
) -> Any:  # noqa: ANN401
    """What a JSON file holds.

    Args:
        path: a regular file in UTF-8.
        most: bytes that an honest file of its kind may have.
        hook: what takes the place of each object, which need not be kept until all are read.

    Raises:
        ValueError: it is larger, not UTF-8, or no JSON; one line with its name and the line.
        OSError: it is absent, no regular file, or cannot be read.
    """
    text = read_text(path, most)
    try:
        return json.loads(text, object_hook=hook)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{os.fspath(path)}, line {error.lineno}: not valid JSON ({error.msg})."
        ) from error
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits; lists in lists
        reason = " ".join(str(error).split())
        raise ValueError(f"{os.fspath(path)} is not valid JSON ({reason}).") from error
