"""safetensors files, whose header is looked at before the library makes room for it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from safetensors import safe_open

from common.files import open_regular

# A header takes some 150 bytes a tensor: CLIP's largest need 0.1 MB, this is room for 100,000.
MAX_HEADER = 16 << 20


@contextlib.contextmanager
def open_safetensors(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a safetensors file for tensors on the CPU.

    The library checks that the tensors of the header fill the file exactly; they are mapped into
    memory, which costs no more than the file has bytes.

    Args:
        path: a regular file with a header of at most `MAX_HEADER` bytes.

    Yields:
        What `safetensors.safe_open` gives.

    Raises:
        ValueError: the header is longer, or the file ends within it.
        SafetensorError: it is damaged in another way.
        OSError: it is absent, no regular file, or cannot be read.
    """
    with open_regular(path) as file:
        length = int.from_bytes(file.read(8), "little")
        size = os.fstat(file.fileno()).st_size
        if length > MAX_HEADER or 8 + length > size:
            raise ValueError(
                f"its header has {length:,} bytes, expected at most {MAX_HEADER:,}, and no more "
                f"than the {size:,} bytes of the file"
            )
    with safe_open(path, framework="pt") as opened:
        yield opened
