"""How a command ends: a user's mistake as one line on stderr and exit status 2, no traceback.

A mistake is what this project, or Dassl, refuses with a ValueError or an ImportError of its own
words, whatever the system refuses (OSError), and training that diverges (FloatingPointError).
Anything else is a defect of a program and keeps its traceback. LMPT_TRACEBACK=1 shows it always.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

MISTAKES = (ValueError, OSError, FloatingPointError, ImportError)
STATUS = 2  # as argparse has it

_TRACEBACK = "LMPT_TRACEBACK"
_OURS = {
    *("__main__", "command_line", "common", "compat", "configuration", "dassl", "datasets"),
    *("evaluation", "loading", "losses", "modeling", "prediction", "reporting", "scripts"),
    *("sweeping", "tests", "train", "trainers"),
}


class CommandParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage in front."""

    def error(self, message: str) -> NoReturn:
        """End the program."""
        self.exit(STATUS, f"{self.prog}: error: {message} (see --help)\n")


def run_command(main: Callable[[], int | None]) -> NoReturn:
    """Run a command and end the process; see above for how.

    Args:
        main: the command; returns its exit status, or None for 0.
    """
    try:
        status = main()
    except MISTAKES as error:
        if os.environ.get(_TRACEBACK) == "1" or not is_mistake(error):
            raise
        sys.stdout.flush()
        command = f"{_rank()}{Path(sys.argv[0]).name}"
        print(f"{command}: error: {message_of(error)}", file=sys.stderr)
        sys.exit(STATUS)
    sys.exit(status)


def _rank() -> str:
    """Which of torchrun's processes this is: "[rank 2 of 4] ", from 0; "" without torchrun."""
    number, ranks = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    return "" if ranks == "1" else f"[rank {number} of {ranks}] "


def is_mistake(error: BaseException) -> bool:
    """Whether an error is the user's: its words, then, say what to do."""
    if isinstance(error, (OSError, FloatingPointError)):
        return True
    if isinstance(error, ImportError) and error.name is not None:  # Python's own, not a `raise`
        return False
    if not isinstance(error, (ValueError, ImportError)):
        return False
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return frame.f_globals.get("__name__", "").partition(".")[0] in _OURS


def message_of(error: BaseException) -> str:
    """An error in words: of the system's errors the file and the reason, not the number."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}."
    return str(error) or type(error).__name__
