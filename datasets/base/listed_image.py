"""An image of a list, whose picture may be absent."""

from __future__ import annotations

import numpy as np
from dassl.data.datasets import Datum


class ListedImage(Datum):
    """Dassl's `Datum` without its look for the file.

    The data set has looked for all files together, or nobody will read this one.

    Args:
        impath: where the picture is, or would be.
        label: multi-label target, float32 [C].
    """

    def __init__(self, impath: str, label: np.ndarray) -> None:
        # Datum's own fields, by its names here and in stock Dassl; its __init__ refuses.
        self._impath, self._label, self._domain, self._classname = impath, label, 0, ""
