"""Methods, one file each. A module placed here is found and registered; nothing lists them."""

import importlib
import pkgutil

from compat.bootstrap import ensure_dassl

ensure_dassl()

MODULES = [
    importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)
]
