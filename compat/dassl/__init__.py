"""Our own core under Dassl's import names, used where Dassl is not installed.

It serves what prompt-learning plugins import: config, registries, data, trainers, evaluation,
optimisers and utilities, with Dassl 0.6.3's names, defaults, log lines and checkpoint layout. The
domain-adaptation and semi-supervised trainers, their data sets and the backbones are not here.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec

__version__ = "0.6.3"  # the Dassl release whose interface this is
__provider__ = "lmpt-builtin"


class _AbsentNames:
    """Last finder in line: says what to do about a `dassl` name that this core does not have."""

    @staticmethod
    def find_spec(fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if not fullname.startswith("dassl."):
            return None
        # Without `name=`, which would make `from package import name` swallow this text.
        raise ModuleNotFoundError(
            f"{fullname} is not part of the built-in Dassl core, which has only what prompt "
            "learning needs. Install Dassl itself for the rest: clone KaiyangZhou/Dassl.pytorch "
            "and run `pip install --no-build-isolation -e .` there."
        )


sys.meta_path.append(_AbsentNames)
