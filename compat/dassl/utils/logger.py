"""Everything that is printed also goes to a file."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from typing import IO

from .tools import mkdir_if_missing


class Logger:
    """Stands in for `sys.stdout`, writing to it and to a file.

    What else is asked of it (`isatty`, `fileno`, `encoding`, ...) the terminal answers.

    Args:
        fpath: log file, overwritten; None for no file.
    """

    def __init__(self, fpath: str | None = None) -> None:
        # A second logger replaces the first; stacking them would write each line to both files.
        self.console = sys.stdout.console if isinstance(sys.stdout, Logger) else sys.stdout
        self.file: IO[str] | None = None
        if fpath is not None:
            mkdir_if_missing(os.path.dirname(fpath))
            self.file = open(fpath, "w", encoding="utf-8", buffering=1)  # whole lines, at once

    def __getattr__(self, name: str) -> object:
        return getattr(vars(self).get("console"), name)

    def __enter__(self) -> Logger:
        """Use as a context manager."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file, not the terminal."""
        self.close()

    def write(self, text: str) -> int:
        """Write to the terminal and to the file."""
        if self.file is not None:
            self.file.write(text)
        return self.console.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several lines."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Bring both up to date."""
        self.console.flush()
        if self.file is not None:
            self.file.flush()

    def close(self) -> None:
        """Close the file and give `sys.stdout` back to the terminal."""
        if self.file is not None:
            self.file.close()
            self.file = None
        if sys.stdout is self:
            sys.stdout = self.console


def setup_logger(output: str | None = None) -> None:
    """Copy all that is printed from now on to a log file.

    Args:
        output: A directory, which gets `log.txt`, or a file ending in .txt or .log. An existing
            file is kept and the new one carries the time in its name. None: do nothing.
    """
    if output is None:
        return
    path = output if output.endswith((".txt", ".log")) else os.path.join(output, "log.txt")
    if os.path.exists(path):
        path += time.strftime("-%Y-%m-%d-%H-%M-%S")
    sys.stdout = Logger(path)
