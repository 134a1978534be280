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
    A class may look at the regions more than once, as where it is a pair of objects. Further looks
    start beside its text feature, in directions drawn at random, and at a score of 0.
    What is switched off has no parameters.

    Args:
        texts: t [C, D], L2-normalised.
        looks: K, how often a class looks at the regions; 0: there are no anchors for regions.
        whole: whether there are anchors for the whole image.
        negative: one of `NEGATIVES`, checked by the caller.
        residuals: whether anchors move at all; further looks are nothing without them.
        bias: where the classes' logit biases start.
        trains_bias: whether they are trained, each from there.
        generator: source of the further looks' directions, on the CPU.

    Attributes:
        residuals: what is added to the starts, by the anchor's name: [C, D] each, those of further
            looks [K - 1, C, D].
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
        regions, further = looks > 0, looks > 1 and residuals
        moved = {"positive": regions, "negative": regions and negative == "learnt", "whole": whole}
        names = [name for name, there in moved.items() if there and residuals]
        starts = dict.fromkeys(names, texts)
        if further:
            noise = torch.randn((looks - 1, *texts.shape), generator=generator)
            beside = texts + noise.to(texts) / texts.shape[1] ** 0.5  # as long as the texts
            self.register_buffer("beside", beside)  # saved, for it may be drawn otherwise elsewhere
            starts |= {"guide": beside, "value": beside}
        self.residuals = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros_like(start)) for name, start in starts.items()}
        )
        start = texts.new_full(texts.shape[:1], float(bias))
        self.class_bias = nn.Parameter(start, requires_grad=trains_bias)

    def forward(self) -> tuple[Tensor, ...]:
        """The anchors that there are.

        Returns:
            For regions what scores them and what weighs them, [K C, D] each, all classes of one
            look after the other; then the anchors of the whole image [C, D]. With residuals d the
            first look scores by p - n and weighs by p, where p = normalise(t + d), n = m + d;
            further ones score by d and weigh by normalise(t + noise + d). Whole image: t - m + d.
        """
        anchors = []
        if self.looks:
            positive = F.normalize(self._moved("positive", self.texts), dim=-1)
            negative = 0.0 if self.negative == "off" else self._moved("negative", self.mean)
            scores, guides = [positive - negative], [positive]
            if "guide" in self.residuals:
                scores += self.residuals["value"]
                guides += F.normalize(self.beside + self.residuals["guide"], dim=-1)
            anchors += [torch.cat(scores), torch.cat(guides)]
        if self.whole:
            anchors.append(self._moved("whole", self.texts - self.mean))
        return tuple(anchors)

    def square(self) -> Tensor:
        """Sum of the squares of all residuals, a scalar."""
        return sum((d.square().sum() for d in self.residuals.values()), self.texts.new_zeros(()))

    def _moved(self, name: str, start: Tensor) -> Tensor:
        return start + self.residuals[name] if name in self.residuals else start
