"""CLIP's text encoder for prompts with trainable context tokens."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from modeling.clip.architecture import activation_of_block
from modeling.clip.text_kind import text_kind
from modeling.encoders.features import Features

KeysValues = tuple[Tensor, Tensor]  # [C, heads, L, E / heads] each
MOST_KEPT = 8 << 30  # bytes that a backward pass over prompts may find kept
_KEPT = 64  # bytes that a block keeps for it, of each number of its stream
_QUICKGELU_SLOPE = 1.702  # of OpenAI's activation, u * sigmoid(1.702 u)


class TextEncoder(nn.Module):
    """Prompt embeddings to text features, with the text tower of a CLIP.

    Only one row of each prompt is read, so that in the last block it alone needs a query, an
    attention output and an MLP. CLIP's attention is causal and the row is the end token's, so that
    these savings are exact, too, and made for such towers alone:

    - Positions behind the longest prompt cannot matter: prompts of 22 tokens give the features that
      77 positions give.
    - Tokens that all prompts start with are computed once for all of them.

    The stream between the blocks is fp32 in every precision; 16-bit weights multiply 16-bit copies.

    Args:
        clip_model: a `clip.model.CLIP` or `DualTower`; those of its weights that ask for gradients
            get them.

    Attributes:
        kind: how the tower reads its tokens.
    """

    def __init__(self, clip_model: nn.Module) -> None:
        super().__init__()
        self.kind = text_kind(clip_model)
        blocks = clip_model.transformer.resblocks
        self.blocks = nn.ModuleList(_Block(block, self.kind.causal) for block in blocks)
        self.positional_embedding = clip_model.positional_embedding  # [77, E]
        self.token_embedding = clip_model.token_embedding
        self.ln_final = clip_model.ln_final
        self.text_projection = clip_model.text_projection  # [E, D]
        self.projection_bias = getattr(clip_model, "projection_bias", None)  # [D]

    def forward(self, prompts: Tensor, eot: Tensor, shared: int = 0) -> Tensor:
        """Encode prompts.

        Args:
            prompts: token embeddings [C, L, E], L at most the tower's context length, and no less
                where the tower sees padding.
            eot: position at which each prompt is read [C]; CLIP's end token.
            shared: leading positions S at which all prompts are the same, so that the first
                prompt's stand for all; S is below every end token, and 0 where attention is not
                causal.

        Returns:
            L2-normalised features [C, D], fp32.
        """
        step = self._prompts_at_once(prompts, shared)
        if step >= len(prompts):
            return self._encode(prompts, eot, shared)
        encode = partial(checkpoint, self._encode, use_reentrant=False, preserve_rng_state=False)
        parts = zip(prompts.split(step), eot.split(step), strict=True)
        return torch.cat([encode(*part, shared) for part in parts])

    def _prompts_at_once(self, prompts: Tensor, shared: int) -> int:
        """How many prompts keep what a backward pass needs; of more, it is computed again."""
        count, length, width = prompts.shape
        kept = _KEPT * (length - shared) * width * len(self.blocks)  # bytes of a prompt
        return count if count * kept <= MOST_KEPT else max(1, MOST_KEPT // 8 // kept)

    def _encode(self, prompts: Tensor, eot: Tensor, shared: int) -> Tensor:
        """Features [C, D] of prompts, all at once."""
        length = prompts.shape[1]
        x = self._embed(prompts)
        prefix, x = x[:1, :shared], x[:, shared:]  # [1, S, E], [C, L - S, E]
        positions = torch.arange(length, device=x.device)
        causal = _scores(positions <= positions[shared:, None]) if shared else None  # [L - S, L]
        past = None
        for block in self.blocks[:-1]:
            if shared:
                prefix, past = block(prefix)
            x, _ = block(x, past, causal)
        last = self.blocks[-1]
        if shared:
            past = last.keys_values(last.ln_1(prefix))
        up_to_end = None
        if self.kind.causal:
            up_to_end = _scores(positions <= eot[:, None, None, None])  # [C, 1, 1, L]
        return self._project(last.read(x, eot - shared, past, up_to_end))  # [C, D]

    def encode_tokens(self, tokens: Tensor) -> Tensor:
        """Encode plain texts: token ids [N, 77] -> L2-normalised features [N, D], fp32."""
        embedded = self.token_embedding(self.kind.without_padding(tokens))
        return self(embedded, self.kind.read_positions(tokens))

    def encode_views(self, tokens: Tensor) -> Features:
        """Encode plain texts as images are: as a whole and word by word.

        Args:
            tokens: token ids [N, 77], or of the tower's context length.

        Returns:
            `Features` with the feature [N, D] that stands for the text as the global one, and every
            position's [N, L, D], up to the longest text's end token, as local ones. The mask
            [N, L] is True up to and including a text's end token.
        """
        end = self.kind.tokenizer.end_positions(tokens)  # [N]
        length = int(end.max()) + 1
        x = self._embed(self.token_embedding(self.kind.without_padding(tokens)))
        for block in self.blocks:
            x, _ = block(x)
        words = self._project(x)  # [N, L, D]
        whole = _row(words, self.kind.read_positions(tokens))[:, 0]  # [N, D]
        mask = torch.arange(length, device=tokens.device) <= end[:, None]
        return Features(whole, words[:, :length], mask)

    def _embed(self, tokens: Tensor) -> Tensor:
        """The stream's start: token embeddings [C, L, E] with their positions, fp32."""
        return tokens.float() + self.positional_embedding[: tokens.shape[1]].float()

    def _project(self, x: Tensor) -> Tensor:
        """Last norm and projection: [..., E] -> L2-normalised features [..., D], fp32."""
        features = self.ln_final(x).to(self.text_projection.dtype) @ self.text_projection
        if self.projection_bias is not None:
            features = features + self.projection_bias
        return F.normalize(features.float(), dim=-1)


class _Block(nn.Module):
    """One residual block of CLIP's transformer, on fp32 streams."""

    def __init__(self, block: nn.Module, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.attention, self.ln_1, self.ln_2 = block.attn, block.ln_1, block.ln_2
        self.widen, self.narrow = block.mlp.c_fc, block.mlp.c_proj
        self.dtype = self.widen.weight.dtype
        # With k = 1.702, u * sigmoid(k u) is silu(k u) / k: one kernel each way, not three.
        # The factors cost nothing inside these vectors, as long as they stay as they are, and
        # inside the residual sum.
        is_quick = activation_of_block(block) == "quickgelu"
        if is_quick:
            self.activation = F.silu
        else:
            self.activation = partial(F.gelu, approximate=block.mlp.gelu.approximate)
        self.slope = _QUICKGELU_SLOPE if is_quick else 1.0
        for name, vector in {
            "ln_weight": self.ln_2.weight,
            "ln_bias": self.ln_2.bias,
            "widen_bias": self.widen.bias,
            "narrow_bias": self.narrow.bias,
        }.items():
            self.register_buffer(name, vector.detach() * self.slope, persistent=False)

    def forward(
        self, x: Tensor, past: KeysValues | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, KeysValues]:
        """Transform a stream [C, L, E].

        Args:
            x: the stream.
            past: keys and values [1, heads, S, E / heads] of what all C streams begin with.
            mask: scores added before the softmax [L, S + L]; None without a past: as the tower is.

        Returns:
            The block's output [C, L, E], and the stream's keys and values with the past's.
        """
        queries, *memory = self._heads(self.ln_1(x), 0, 3)
        memory = _behind(past, *memory)
        return self._finish(x, queries, memory, mask), memory

    def keys_values(self, normed: Tensor, past: KeysValues | None = None) -> KeysValues:
        """Keys and values of `ln_1`'s output [C, L, E], behind those of a past."""
        return _behind(past, *self._heads(normed, 1, 3))

    def read(self, x: Tensor, row: Tensor, past: KeysValues | None, mask: Tensor | None) -> Tensor:
        """Output of one row of each stream: x [C, L, E], row [C], mask [C, 1, 1, S + L] -> [C, E].

        Without a mask it sees all rows. The other rows lend their keys and values and are not
        transformed themselves.
        """
        normed = self.ln_1(x)
        memory = self.keys_values(normed, past)
        (queries,) = self._heads(_row(normed, row), 0, 1)
        return self._finish(_row(x, row), queries, memory, mask)[:, 0]

    def _heads(self, normed: Tensor, start: int, stop: int) -> list[Tensor]:
        """Parts of [queries, keys, values] of [C, L, E], each [C, heads, L, E / heads]."""
        attention, width = self.attention, normed.shape[-1]
        rows = slice(start * width, stop * width)
        parts = F.linear(
            normed.to(self.dtype), attention.in_proj_weight[rows], attention.in_proj_bias[rows]
        )  # [C, L, (stop - start) * E]
        if parts.device.type == "cpu":
            parts = parts.float()  # the CPU's 16-bit attention is ten times slower than its fp32
        return [
            part.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
            for part in parts.chunk(stop - start, dim=-1)
        ]

    def _finish(
        self, x: Tensor, queries: Tensor, memory: KeysValues, mask: Tensor | None
    ) -> Tensor:
        """Attention, then the MLP, each added to the stream [C, L, E]."""
        if mask is not None:
            mask = mask.to(queries.dtype)
        mixed = F.scaled_dot_product_attention(
            queries, *memory, attn_mask=mask, is_causal=self.causal and mask is None
        )  # [C, heads, L, E / heads]
        x = x + self.attention.out_proj(mixed.transpose(1, 2).flatten(2).to(self.dtype))
        ln_weight = self._scaled("ln_weight", self.ln_2.weight)
        ln_bias = self._scaled("ln_bias", self.ln_2.bias)
        normed = F.layer_norm(x, ln_weight.shape, ln_weight, ln_bias, self.ln_2.eps)
        widen_bias = self._scaled("widen_bias", self.widen.bias)
        wide = F.linear(normed.to(self.dtype), self.widen.weight, widen_bias)
        narrow_bias = self._scaled("narrow_bias", self.narrow.bias)
        narrow = F.linear(self.activation(wide), self.narrow.weight, narrow_bias)  # [C, L, E]
        return torch.add(x, narrow, alpha=1 / self.slope)

    def _scaled(self, name: str, vector: Tensor) -> Tensor:
        """A vector times the slope: the one that is kept, unless the vector learns."""
        return vector * self.slope if vector.requires_grad else getattr(self, name)


def _behind(past: KeysValues | None, keys: Tensor, values: Tensor) -> KeysValues:
    """Keys and values [C, heads, L, d], behind a past [1, heads, S, d] that all C share."""
    if past is None:
        return keys, values
    first_keys, first_values = (part.expand(len(keys), -1, -1, -1) for part in past)
    return torch.cat([first_keys, keys], dim=2), torch.cat([first_values, values], dim=2)


def _scores(visible: Tensor) -> Tensor:
    """What to add to attention scores: 0 where a position is seen, minus infinity elsewhere."""
    return torch.zeros(visible.shape, device=visible.device).masked_fill_(~visible, -torch.inf)


def _row(x: Tensor, row: Tensor) -> Tensor:
    """One position of each sequence: x [C, L, E], row [C] -> [C, 1, E]."""
    return x.gather(1, row[:, None, None].expand(-1, 1, x.shape[-1]))
