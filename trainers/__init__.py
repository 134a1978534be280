"""Methods, one file each. A module placed here is found and registered; nothing lists them."""

import importlib
import pkgutil
import types

from compat.bootstrap import ensure_dassl

ensure_dassl()


def _load(name: str) -> types.ModuleType:
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except KeyError as error:  # Dassl's registry: two classes of one name
        raise ImportError(
            f"trainers/{name}.py: {error.args[0]}. Rename its class, or remove the other file "
            "(docs/plugins.md)."
        ) from error


MODULES = [_load(found.name) for found in pkgutil.iter_modules(__path__)]
