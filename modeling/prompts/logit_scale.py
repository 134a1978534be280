"""From cosines to logits: a scale, which may be learnt, and optionally an offset.

CLIP's cosines are positive for every class, so scale * cosine lies near +25 and a sigmoid of it is
1 for all: a loss that judges each class by itself starts saturated. Measuring cosines from their
mean puts the sigmoids where they can learn. A ranking within a class does not notice the offset.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from common.choices import check_choice

OFFSETS = ("off", "fixed", "learnt")


class LogitScale(nn.Module):
    """Logits = scale * (cosine - offset).

    What is switched off leaves no trace in the state dict, so checkpoints without it still fit.

    Args:
        scale: 0 or more; CLIP's own is about 100.
        learnable: the scale is trained, from there; it must then be above 0, as its logarithm is.
        offset: "off", "fixed" at the mean cosine before training (of SigLIP, whose logits have a
            bias, at the cosine where they are 0), or "learnt" from there.
        key: what the user sets `scale` with, for the message.

    Raises:
        ValueError: another `scale` or `offset`.
    """

    def __init__(
        self,
        scale: float,
        learnable: bool = False,
        offset: str = "off",
        key: str = "LOGIT_SCALE",
    ) -> None:
        super().__init__()
        check_choice("COSINE_OFFSET", offset, OFFSETS)
        if not 0 <= scale < math.inf:
            raise ValueError(f"{key} must be a finite number and 0 or more, got {scale}.")
        if learnable and scale == 0:
            raise ValueError(f"{key} must be above 0 where {key}_LEARNABLE is True, got {scale}.")
        self.register_buffer("scale", torch.tensor(float(scale)), persistent=False)
        if learnable:
            self.log_gain = nn.Parameter(torch.zeros(()))  # of the scale it starts at
        if offset != "off":
            self.offset = nn.Parameter(torch.zeros(()), requires_grad=offset == "learnt")

    @property
    def has_offset(self) -> bool:
        """Whether an offset is used; it has to be set before training."""
        return hasattr(self, "offset")

    @torch.no_grad()
    def set_offset(self, cosine: Tensor) -> None:
        """Set the offset to a cosine, a scalar, before training."""
        self.offset.copy_(cosine)

    @property
    def factor(self) -> Tensor:
        """The scale as it is now, a scalar."""
        return self.scale * self.log_gain.exp() if hasattr(self, "log_gain") else self.scale

    def learnt(self) -> dict[str, Tensor]:
        """The scale and the offset of the logits, as far as they are trained; scalars."""
        values = {"scale": self.factor} if hasattr(self, "log_gain") else {}
        if hasattr(self, "offset") and self.offset.requires_grad:
            values["offset"] = self.offset
        return values

    def forward(self, cosines: Tensor) -> Tensor:
        """Logits of cosines, any shape."""
        shifted = cosines - self.offset if hasattr(self, "offset") else cosines
        return self.factor * shifted
