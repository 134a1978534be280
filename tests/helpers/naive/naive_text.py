"""Text features of prompts with contexts, the long way: all 77 tokens, CLIP's own transformer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from modeling.clip.loader import tokenize
from tests.modeling.test_prompt_learner import naive_prompts


def naive_text_features(
    names: Sequence[str], clip_model: nn.Module, ctx: Tensor, position: str = "end"
) -> Tensor:
    """Unit features [C, D] of CoOp's prompts with contexts [M, E] or [C, M, E]."""
    prompts = naive_prompts(names, clip_model, ctx, position)  # [C, 77, E]
    words = " ".join(["X"] * ctx.shape[-2])
    ends = tokenize([f"{words} {name.replace('_', ' ')}." for name in names]).argmax(dim=-1)
    x = (prompts + clip_model.positional_embedding).permute(1, 0, 2)  # [77, C, E]
    x = clip_model.ln_final(clip_model.transformer(x).permute(1, 0, 2))
    x = x[torch.arange(len(names)), ends] @ clip_model.text_projection
    return x / x.norm(dim=-1, keepdim=True)
