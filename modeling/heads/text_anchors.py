"""What TARP trains: class anchors that start at text features and stay near them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NEGATIVES = {
    "learnt": "from the mean text feature on, moved class by class",
    "mean": "the mean text feature, the same for every class",
    "off": "none",
}


class TextAnchors(nn.Module):
    """Anchors of C classes: frozen text features plus residuals that start at zero.

    After TaskRes (Yu et al., CVPR 2023, https://arxiv.org/abs/2211.10277), which adds residuals to
    the text features of whole images; here regions have anchors too, positive and negative ones.
    What is switched off has no parameters.

    Args:
        texts: t [C, D], L2-normalised.
        regions: whether there are anchors for regions.
        whole: whether there are anchors for the whole image.
        negative: one of `NEGATIVES`, checked by the caller.
        residuals: whether anchors move at all.
        bias: where the classes' logit biases start.
        trains_bias: whether they are trained, each from there.

    Attributes:
        residuals: what is added to text features, by the anchor's name, [C, D] each.
        class_bias: b [C].
    """

    def __init__(
        self,
        texts: Tensor,
        regions: bool = True,
        whole: bool = True,
        negative: str = "learnt",
        residuals: bool = True,
        bias: float = -2.0,
        trains_bias: bool = True,
    ) -> None:
        super().__init__()
        self.regions, self.whole, self.negative = regions, whole, negative
        self.register_buffer("texts", texts, persistent=False)
        self.register_buffer("mean", texts.mean(dim=0), persistent=False)  # m [D]
        moved = {"positive": regions, "negative": regions and negative == "learnt", "whole": whole}
        names = [name for name, there in moved.items() if there and residuals]
        self.residuals = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros_like(texts)) for name in names}
        )
        start = texts.new_full(texts.shape[:1], float(bias))
        self.class_bias = nn.Parameter(start, requires_grad=trains_bias)

    def forward(self) -> tuple[Tensor, ...]:
        """The anchors that there are, [C, D] each.

        Returns:
            For regions p - n, which scores them, and p, which weighs them; then that of the whole
            image. With residuals d: p = normalise(t + d), n = m + d, whole image: t - m + d.
        """
        anchors = []
        if self.regions:
            positive = F.normalize(self._moved("positive", self.texts), dim=-1)
            negative = 0.0 if self.negative == "off" else self._moved("negative", self.mean)
            anchors += [positive - negative, positive]
        if self.whole:
            anchors.append(self._moved("whole", self.texts - self.mean))
        return tuple(anchors)

    def _moved(self, name: str, start: Tensor) -> Tensor:
        return start + self.residuals[name] if name in self.residuals else start
