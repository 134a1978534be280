"""What TARP trains: class anchors that start at text features and stay near them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NEGATIVES = {
    "learnt": "from the mean text feature on, moved look by look and class by class",
    "mean": "the mean text feature, the same for every class",
    "off": "none",
}
_NOISE = 0.5  # length of the directions in which further looks start, beside texts of length 1


class TextAnchors(nn.Module):
    """Anchors of C classes: frozen text features plus residuals that start at zero.

    After TaskRes (Yu et al., CVPR 2023, https://arxiv.org/abs/2211.10277), which adds residuals to
    the text features of whole images; here regions have anchors too, positive and negative ones.
    A class may look at the regions more than once, as where it is a pair of objects: further looks
    start beside its text feature, in directions drawn at random.
    What is switched off has no parameters.

    Args:
        texts: t [C, D], L2-normalised.
        looks: K, how often a class looks at the regions; 0: there are no anchors for regions.
        whole: whether there are anchors for the whole image.
        negative: one of `NEGATIVES`, checked by the caller.
        residuals: whether anchors move at all.
        bias: where the classes' logit biases start.
        trains_bias: whether they are trained, each from there.
        generator: source of the further looks' directions, on the CPU.

    Attributes:
        residuals: what is added to the starts, by the anchor's name: [K, C, D] of the regions'
            positive and negative anchors, [C, D] of the whole image's.
        class_bias: b [C].
    """

    def __init__(
        self,
        texts: Tensor,
        looks: int = 1,
        whole: bool = True,
        negative: str = "learnt",
        residuals: bool = True,
        bias: float = -2.0,
        trains_bias: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.looks, self.whole, self.negative = looks, whole, negative
        self.register_buffer("texts", texts, persistent=False)
        self.register_buffer("mean", texts.mean(dim=0), persistent=False)  # m [D]
        if looks > 1:  # saved, for they may be drawn otherwise elsewhere
            noise = torch.randn((looks - 1, *texts.shape), generator=generator).to(texts)
            self.register_buffer("beside", texts + _NOISE * noise / texts.shape[1] ** 0.5)
        of_regions, shapes = (looks, *texts.shape), {}
        if looks:
            shapes["positive"] = of_regions
        if looks and negative == "learnt":
            shapes["negative"] = of_regions
        if whole:
            shapes["whole"] = texts.shape
        self.residuals = nn.ParameterDict(
            {n: nn.Parameter(texts.new_zeros(shape)) for n, shape in shapes.items() if residuals}
        )
        start = texts.new_full(texts.shape[:1], float(bias))
        self.class_bias = nn.Parameter(start, requires_grad=trains_bias)

    def forward(self) -> tuple[Tensor, ...]:
        """The anchors that there are.

        Returns:
            For regions what scores them and what weighs them, p - n and p, [K C, D] each, all
            classes of one look after the other; then the anchors of the whole image [C, D]. With
            residuals d they are p = normalise(t + noise + d), without noise in the first look,
            n = m + d, and of the whole image t - m + d.
        """
        anchors = []
        if self.looks:
            starts = self.texts[None]  # [1, C, D]
            if self.looks > 1:
                starts = torch.cat([starts, self.beside])  # [K, C, D]
            positive = F.normalize(self._moved("positive", starts), dim=-1)
            negative = 0.0 if self.negative == "off" else self._moved("negative", self.mean)
            anchors += [(positive - negative).flatten(0, 1), positive.flatten(0, 1)]
        if self.whole:
            anchors.append(self._moved("whole", self.texts - self.mean))
        return tuple(anchors)

    def square(self) -> Tensor:
        """Sum of the squares of all residuals, a scalar."""
        return sum((d.square().sum() for d in self.residuals.values()), self.texts.new_zeros(()))

    def _moved(self, name: str, start: Tensor) -> Tensor:
        return start + self.residuals[name] if name in self.residuals else start
