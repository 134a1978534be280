"""Long-tailed multi-label data sets, registered with Dassl on import.

Every module of this folder is imported, so a new data set is one new file.
"""

from __future__ import annotations

import importlib
import pkgutil

from compat.bootstrap import ensure_dassl

ensure_dassl()

for _module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")
