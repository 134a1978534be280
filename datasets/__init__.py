"""Long-tailed multi-label data sets, registered with Dassl on import.

Every module of this folder is imported, so a new data set is one new file.
"""

from common.plugins import import_modules
from compat.bootstrap import ensure_dassl

ensure_dassl()

MODULES, BROKEN = import_modules(__name__, __path__)
