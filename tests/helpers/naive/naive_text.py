"""Text features of prompts with contexts, the long way: all 77 tokens, CLIP's own transformer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from modeling.clip.loader import encode_words, tokenize


def naive_prompts(
    names: Sequence[str], clip_model: nn.Module, ctx: Tensor, position: str
) -> Tensor:
    """CoOp's prompts, put together token by token: [C, 77, E]."""
    rows = []
    n_ctx = ctx.shape[-2]
    for c, name in enumerate(names):
        name = name.replace("_", " ")
        tokens = tokenize([" ".join(["X"] * n_ctx) + f" {name}."])
        embedded = clip_model.token_embedding(tokens)[0]  # [77, E]
        contexts = list(ctx[c] if ctx.dim() == 3 else ctx)
        width = len(encode_words(name))
        start, words = embedded[:1], embedded[1 + n_ctx : 1 + n_ctx + width]
        rest = embedded[1 + n_ctx + width :]
        half = n_ctx // 2
        order = {
            "end": [*start, *contexts, *words, *rest],
            "middle": [*start, *contexts[:half], *words, *contexts[half:], *rest],
            "front": [*start, *words, *contexts, *rest],
        }[position]
        rows.append(torch.stack(order))
    return torch.stack(rows)


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
