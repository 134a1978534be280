"""What an image, or a caption, becomes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Views:
    """Features of B images or captions; all L2-normalised, fp32.

    Attributes:
        global_features: [B, D].
        local_features: [B, R, D] one for each region or word, or None.
        mask: [B, R] True where a region counts, or None where all do.
    """

    global_features: Tensor
    local_features: Tensor | None = None
    mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self.global_features)
