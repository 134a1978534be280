"""Numbers that tell how training goes beside the loss: norms, learnt scale and offset."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modeling.prompts.logit_scale import LogitScale

_CONTEXTS = "ctx"  # what names of contexts begin with


class LearnerStatistics:
    """Reads norms of what is trained, and the scale of the logits.

    Nothing is computed within a step: gradients and weights are looked at where they lie after it.

    Args:
        learner: what is trained.
        scale: from cosines to logits.
    """

    def __init__(self, learner: nn.Module, scale: LogitScale) -> None:
        self.trained = {n: p for n, p in learner.named_parameters() if p.requires_grad}
        self.contexts = {n: p for n, p in self.trained.items() if n.startswith(_CONTEXTS)}
        self.scale = scale

    @torch.no_grad()
    def read(self) -> dict[str, float]:
        """The numbers after a step; waits for the device, once.

        Returns:
            `grad_norm` and `weight_norm`, L2 over all that is trained; for each set of contexts
            `<name>_norm`, the mean L2 norm of its tokens; `scale` and `offset` of the logits where
            they are learnt.
        """
        gradients = [p.grad for p in self.trained.values() if p.grad is not None]
        found = {"grad_norm": _norm(gradients), "weight_norm": _norm(list(self.trained.values()))}
        for name, context in self.contexts.items():
            found[f"{name}_norm"] = context.norm(dim=-1).mean()  # of [M, E] or [C, M, E]
        found |= self.scale.learnt()
        found = {name: value.float() for name, value in found.items() if value is not None}
        return dict(zip(found, torch.stack(list(found.values())).tolist(), strict=True))


def _norm(tensors: list[Tensor]) -> Tensor | None:
    """L2 norm of all entries, as if they were one vector; None of no tensors."""
    if not tensors:
        return None
    return torch.stack([tensor.float().norm() for tensor in tensors]).norm()
