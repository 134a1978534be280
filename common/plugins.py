"""Import every module of a folder; one that is broken is named and skipped."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

_named: set[str] = set()  # modules that were named as broken


@dataclass(frozen=True)
class BrokenModule:
    """A module that could not be imported.

    Attributes:
        name: its full name, as in `trainers.mine`.
        path: its file.
        reason: what went wrong, and on which line of the file.
    """

    name: str
    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{Path(*self.path.parts[-2:])} ({self.reason})"

    def holds(self, name: str) -> bool:
        """Whether its source has a class of that name."""
        text = self.path.read_text(encoding="utf-8", errors="replace")
        return re.search(rf"^class +{re.escape(name)}\b", text, re.MULTILINE) is not None


def import_modules(
    package: str, folders: Iterable[str]
) -> tuple[list[ModuleType], list[BrokenModule]]:
    """Import the modules of a package, in the order of their names.

    Args:
        package: its name.
        folders: its `__path__`.

    Returns:
        The modules, and those that are broken; these are also named on stderr, once.
    """
    modules, broken = [], []
    for found in sorted(pkgutil.iter_modules(folders), key=lambda found: found.name):
        name = f"{package}.{found.name}"
        try:
            modules.append(importlib.import_module(name))
        except (Exception, SystemExit) as error:  # files of others: anything may happen
            path = Path(found.module_finder.path, found.name + ("" if found.ispkg else ".py"))
            broken.append(BrokenModule(name, path, _reason(error, path)))
            if name not in _named:
                print(f"Skipped {broken[-1]}", file=sys.stderr)
            _named.add(name)
    return modules, broken


def _reason(error: BaseException, path: Path) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}"
    if isinstance(error, KeyError) and "already registered" in str(error):  # Dassl's registry
        return f"{error.args[0]}; rename its class, or remove the other file"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    where = f"line {lines[-1]}: " if lines else ""
    return f"{where}{type(error).__name__}: {' '.join(str(error).split())}"
