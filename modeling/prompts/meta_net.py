"""Contexts that depend on the image (CoCoOp, Zhou et al., CVPR 2022, https://arxiv.org/abs/2203.05557)."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from common.ranks import gather_rows, share
from modeling.encoders.text_encoder import TextEncoder
from modeling.prompts.prompt_learner import PromptLearner

_NARROWER = 16  # the bottleneck is D / 16 wide


class MetaNet(nn.Module):
    """From an image's feature to the shift of its contexts: two layers with a bottleneck between.

    The layers start as `nn.Linear` does, from a generator of their own. They are called as in
    CoCoOp's checkpoints.

    Args:
        feature_width: D.
        token_width: E.
        generator: source of the random start; torch's global one if None.
    """

    def __init__(
        self, feature_width: int, token_width: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        narrow = max(feature_width // _NARROWER, 1)
        self.linear1 = nn.Linear(feature_width, narrow)
        self.linear2 = nn.Linear(narrow, token_width)
        for layer in (self.linear1, self.linear2):
            bound = layer.in_features**-0.5
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def forward(self, features: Tensor) -> Tensor:
        """Shifts [B, E] of L2-normalised image features [B, D]."""
        return self.linear2(F.relu(self.linear1(features)))


def conditional_prompts(learner: PromptLearner, shifts: Tensor) -> Tensor:
    """Prompts `[SOS] v_1 + h ... v_M + h classname . [EOT]` of images with shifts h.

    Args:
        learner: contexts v and class names.
        shifts: [B, E].

    Returns:
        Token embeddings [B, C, L, E].
    """
    contexts = learner.contexts() + shifts[:, None, None]  # [B, C, M, E]
    frozen = learner.frozen.expand(len(shifts), -1, -1, -1)  # [B, C, L, E]
    return frozen.scatter(2, learner.slots.expand_as(contexts), contexts)


def conditional_cosines(
    learner: PromptLearner,
    meta_net: MetaNet,
    text_encoder: TextEncoder,
    features: Tensor,
    chunk: int,
) -> Tensor:
    """Cosines of images and classes whose prompts are the image's own: [B, C], fp32.

    B * C prompts pass the text tower. So that their number does not set the memory, they do so a
    few images at a time, and what the backward pass needs of them is computed once more there.
    Each rank computes its share of the images.

    Args:
        learner: contexts and class names.
        meta_net: what shifts the contexts.
        text_encoder: CLIP's text tower.
        features: L2-normalised image features [B, D].
        chunk: images in a forward pass, at least 1; of a single one nothing is computed twice.
    """

    def of_some(some: Tensor) -> Tensor:  # [b, D] -> [b, C]
        prompts = conditional_prompts(learner, meta_net(some))  # [b, C, L, E]
        eot = learner.eot.repeat(len(some))  # [b * C]
        text_features = text_encoder(prompts.flatten(0, 1), eot)  # [b * C, D]
        text_features = text_features.unflatten(0, prompts.shape[:2])  # [b, C, D]
        # No matrix product, which autocast would round to half precision.
        return (some[:, None] * text_features).sum(dim=-1)

    parts = features[share(len(features))].split(chunk)
    if len(parts) == 1 or not torch.is_grad_enabled():
        return gather_rows(torch.cat([of_some(part) for part in parts]), len(features))
    # Nothing in the towers draws random numbers, so their state need not be kept.
    recomputed = partial(checkpoint, of_some, use_reentrant=False, preserve_rng_state=False)
    return gather_rows(torch.cat([recomputed(part) for part in parts]), len(features))
