"""The text tower on prompts that carry trainable contexts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeling.tokenizer import end_positions


class TextEncoder(nn.Module):
    """Prompt embeddings to text features, with the tower of a CLIP.

    Attention is causal and only the row of the end token is read, so positions behind the longest
    prompt cannot matter: prompts of 22 tokens give the features that 77 positions give.

    Args:
        clip_model: a frozen `clip.model.CLIP`.
    """

    def __init__(self, clip_model: nn.Module) -> None:
        super().__init__()
        self.blocks = clip_model.transformer.resblocks
        self.positional_embedding = clip_model.positional_embedding  # [77, E]
        self.token_embedding = clip_model.token_embedding
        self.ln_final = clip_model.ln_final
        self.text_projection = clip_model.text_projection  # [E, D]

    def forward(self, prompts: Tensor, eot: Tensor) -> Tensor:
        """Encode prompts.

        Args:
            prompts: token embeddings [C, L, E], L at most 77.
            eot: position of each prompt's end token [C].

        Returns:
            L2-normalised features [C, D], fp32.
        """
        dtype = self.text_projection.dtype
        x = (prompts + self.positional_embedding[: prompts.shape[1]]).to(dtype)
        for block in self.blocks:
            x = x + _causal_attention(block.attn, block.ln_1(x))
            x = x + block.mlp(block.ln_2(x))
        x = x[torch.arange(len(x), device=x.device), eot]  # [C, E]
        features = self.ln_final(x).to(dtype) @ self.text_projection  # [C, D]
        return F.normalize(features.float(), dim=-1)

    def encode_tokens(self, tokens: Tensor) -> Tensor:
        """Encode plain texts: token ids [N, 77] -> L2-normalised features [N, D], fp32."""
        eot = end_positions(tokens)
        length = int(eot.max()) + 1
        return self(self.token_embedding(tokens[:, :length]), eot)


def _causal_attention(attention: nn.MultiheadAttention, x: Tensor) -> Tensor:
    """Self-attention in which a position sees itself and earlier ones: [C, L, E] -> [C, L, E].

    The fused kernel needs neither the [L, L] mask nor the [C, heads, L, L] weights in memory.
    """
    qkv = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)  # [C, L, 3E]
    q, k, v = (
        part.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)  # [C, heads, L, E / heads]
        for part in qkv.chunk(3, dim=-1)
    )
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return attention.out_proj(mixed.transpose(1, 2).flatten(2))  # [C, L, E]
