"""Make `import dassl` work: the installed Dassl where there is one, otherwise our own core.

Import this first, at module level (worker processes import modules anew):

    from compat.bootstrap import ensure_dassl
    ensure_dassl()

Environment variables: LMPT_DASSL = auto (default) | stock | builtin chooses the Dassl,
LMPT_DASSL_REPAIRS = on (default) | off the repairs of an installed one.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

_HERE = Path(__file__).resolve().parent
_INSTALL = (
    "clone https://github.com/KaiyangZhou/Dassl.pytorch and run "
    "`pip install --no-build-isolation -e .` there"
)
_state: dict[str, object] = {}  # provider and repairs, once decided


def ensure_dassl() -> str:
    """Make `dassl` importable; further calls return the first answer.

    Returns:
        "stock" or "builtin".

    Raises:
        ValueError: LMPT_DASSL or LMPT_DASSL_REPAIRS has an unknown value.
        ImportError: LMPT_DASSL=stock without Dassl; an installed Dassl that cannot be imported;
            or the Dassl that is wanted is not the one already imported.
    """
    if "provider" not in _state:
        wanted = _choice("LMPT_DASSL", ("auto", "stock", "builtin"))
        repair = _choice("LMPT_DASSL_REPAIRS", ("on", "off")) == "on"
        present = _present_provider()  # before sys.path is touched: see _present_provider
        provider = _decide(wanted, present)
        if provider == "stock":
            _import_stock()
            _state["repairs"] = _repair() if repair else None
        else:
            _import_builtin()
        _state["provider"] = provider
    return _state["provider"]


def dassl_banner() -> str:
    """One line for the log: which Dassl runs, from where, and how it was repaired."""
    if ensure_dassl() == "builtin":
        return "Dassl: built-in core (compat/dassl)"
    dassl = sys.modules["dassl"]
    repairs = _state["repairs"]
    text = "off" if repairs is None else ", ".join(repairs) or "none needed"
    return f"Dassl: stock {dassl.__version__} at {Path(dassl.__file__).parent}; repairs: {text}"


def _choice(variable: str, choices: tuple[str, ...]) -> str:
    value = os.environ.get(variable) or choices[0]
    if value not in choices:
        raise ValueError(f"{variable} must be one of {', '.join(choices)}; got {value!r}")
    return value


def _present_provider() -> str | None:
    """Which Dassl an import would find, or None.

    The question must be asked before our directory is on sys.path: an editable install answers
    only after sys.path has been searched, so our core would hide it.
    """
    if "dassl" in sys.modules:
        location = getattr(sys.modules["dassl"], "__file__", None)
    else:
        spec = find_spec("dassl")
        location = spec.origin if spec else None
    if location is None:  # nothing, or a mere directory of that name
        return None
    return "builtin" if Path(location).resolve().parent.parent == _HERE else "stock"


def _decide(wanted: str, present: str | None) -> str:
    if "dassl" in sys.modules and wanted not in ("auto", present):
        raise ImportError(
            f"LMPT_DASSL={wanted}, but the {present} Dassl is imported already. "
            "Call ensure_dassl() before anything imports dassl."
        )
    if wanted == "stock" and present != "stock":
        raise ImportError(
            f"LMPT_DASSL=stock, but Dassl is not installed. To install it, {_INSTALL}."
        )
    if wanted == "auto":
        return present or "builtin"
    return wanted


def _import_builtin() -> None:
    """Put our core on sys.path, last unless it has to win over an installed Dassl."""
    if str(_HERE) not in sys.path:
        sys.path.append(str(_HERE))
    if _present_provider() != "builtin":
        sys.path.insert(0, str(_HERE))
    importlib.invalidate_caches()
    module = importlib.import_module("dassl")
    if Path(module.__file__).resolve().parent.parent != _HERE:
        raise ImportError(
            f"The built-in Dassl core is hidden by {module.__file__}; uninstall that Dassl or "
            "set LMPT_DASSL=stock."
        )


def _import_stock() -> None:
    """Import an installed Dassl without the two packages its core does not need."""
    stubs = {}
    if _absent("wilds"):
        wilds = _stub("dassl.data.datasets.dg.wilds")
        wilds.__all__ = []
        stubs[wilds.__name__] = wilds
    if _absent("gdown"):
        gdown = _stub("gdown")
        gdown.download = _no_gdown
        stubs[gdown.__name__] = gdown
    sys.modules.update({name: stub for name, stub in stubs.items() if name not in sys.modules})

    already_imported = "dassl" in sys.modules
    muted = logging.NOTSET if already_imported else logging.root.manager.disable
    try:
        importlib.import_module("dassl.engine")
    except Exception as error:
        raise ImportError(
            f"Dassl is installed, but importing it failed: {type(error).__name__}: {error}. "
            "Repair that installation (its requirements are torch, torchvision, tensorboard, "
            "tabulate, tqdm, yacs and scikit-learn), or set LMPT_DASSL=builtin to use the "
            "built-in core."
        ) from error
    finally:
        if "gdown" in stubs:
            del sys.modules["gdown"]  # nobody else shall take it for the real package
        # Dassl's WILDS data sets mute logging.warning() in the whole process.
        if logging.root.manager.disable == logging.WARNING:
            logging.disable(muted)


def _absent(name: str) -> bool:
    return name not in sys.modules and find_spec(name) is None


def _stub(name: str) -> ModuleType:
    """An empty module; with a spec, as torch looks that up for every module."""
    stub = ModuleType(name)
    stub.__spec__ = ModuleSpec(name, loader=None)
    return stub


def _no_gdown(*args: object, **kwargs: object) -> None:
    raise ImportError("Downloading from Google Drive needs the package gdown: pip install gdown")


def _repair() -> list[str]:
    from compat.repairs import repair_stock

    return repair_stock()
