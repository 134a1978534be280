"""One suite for whichever Dassl is present: what a plugin relies on.

Run it as it is for the built-in core where Dassl is not installed; with Dassl on the path, and
LMPT_DASSL=stock, it checks the repaired Dassl instead.
"""

from __future__ import annotations

import pytest

from compat.bootstrap import ensure_dassl

PROVIDER = ensure_dassl()


def fixed_in_builtin(reason: str) -> pytest.MarkDecorator:
    """Marks a test of something that Dassl gets wrong and only our core can put right."""
    return pytest.mark.xfail(PROVIDER == "stock", reason=f"stock Dassl: {reason}", strict=True)
