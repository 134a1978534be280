"""Optional libraries, imported when a backbone of theirs is asked for."""

from __future__ import annotations

import importlib
import types

_PACKAGES = {"open_clip": "open_clip_torch"}  # where the name is another one


def import_extra(module: str, backbone: str) -> types.ModuleType:
    """Import an optional library.

    Args:
        module: its name in Python.
        backbone: what needs it, for the message.

    Raises:
        ImportError: it is missing; with the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        package = _PACKAGES.get(module, module)
        raise ImportError(f"{backbone} needs {module}. Run: pip install {package}") from error
