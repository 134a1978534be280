"""Methods, one file each. A module placed here is found and registered; nothing lists them."""

from common.plugins import import_modules
from compat.bootstrap import ensure_dassl

ensure_dassl()

MODULES, BROKEN = import_modules(__name__, __path__)
