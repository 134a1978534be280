"""Files for libraries that would make room for whatever size a damaged or forged file states."""

from __future__ import annotations

import os
from typing import BinaryIO


class Bounded:
    """A file whose `read` makes room neither for more than is there nor for more than `most`.

    Args:
        file: what lies behind it, open for reading.
        most: bytes that an honest reader asks for at once, such as a table of contents.
    """

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file, self._most = file, most
        self._size = os.fstat(file.fileno()).st_size
        self.readline, self.tell, self.seekable = file.readline, file.tell, file.seekable

    def read(self, count: int = -1) -> bytes:
        """The next bytes, up to `count` or, below 0, to the end.

        Raises:
            ValueError: they are more than `most`.
        """
        left = max(0, self._size - self._file.tell())
        count = left if count < 0 else min(count, left)
        if count > self._most:
            raise ValueError(f"{count} bytes are to be read at once")
        return self._file.read(count)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place, which must not lie before the start.

        Raises:
            ValueError: it does.
        """
        if whence == os.SEEK_SET and offset < 0:
            raise ValueError("a record lies before the file's start")
        return self._file.seek(offset, whence)
