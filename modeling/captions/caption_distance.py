"""Distance between captions and class prompts: Delta in LMPT's embedding loss.

The paper and the released code differ in what they compare, so that every part is a choice. Token
embeddings are looked up for a batch at a time; no table of the whole data set is held, except the
constant part of the distance, [T, C].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.choices import check_choice
from modeling.captions.caption_tokens import CaptionTokens
from modeling.captions.token_distance import aligned_distance, constant_distance, pooled_distance
from modeling.clip.tokenizer import whole_captions
from modeling.encoders.text_encoder import TextEncoder
from modeling.prompts.prompt_learner import PromptLearner

SPACES = {
    "token": "token embeddings, position by position",
    "pooled": "the mean of the token embeddings of all words, however long the caption",
    "text": "the text tower's features of caption and prompt",
}
PROMPT_TOKENS = {
    "instance": "the contexts v_{m+1} ... v_M",
    "from_m": "positions m to 76 of the prompt: contexts from v_m on, name, padding",
}
CAPTION_TOKENS = {
    "words": "the words, from the first one on",
    "positions": "whatever stands at positions 0, 1, ...: start token, words, end token, padding",
}
REDUCTIONS = {
    "mean": "the mean over the positions of the token space",
    "sum": "their sum",
}
_CHUNK = 256  # captions at a time while tables are made


class CaptionDistance:
    """Delta [B, C] of captions and prompts.

    Args:
        captions: T of them, on the device of `text_encoder`.
        learner: the prompts; its contexts may train later, its names may not.
        text_encoder: CLIP's text tower.
        general: m, contexts at the front that stay out of the comparison.
        space: one of `SPACES`.
        prompt_tokens: one of `PROMPT_TOKENS`; not used in the text space.
        caption_tokens: one of `CAPTION_TOKENS`; used in the token space alone.
        reduce: one of `REDUCTIONS`; used in the token space alone.

    Raises:
        ValueError: an unknown choice, or no context token is left to compare.
    """

    def __init__(
        self,
        captions: CaptionTokens,
        learner: PromptLearner,
        text_encoder: TextEncoder,
        general: int,
        space: str = "token",
        prompt_tokens: str = "instance",
        caption_tokens: str = "words",
        reduce: str = "mean",
    ) -> None:
        check_choice("CSE.SPACE", space, SPACES)
        check_choice("prompt_tokens", prompt_tokens, PROMPT_TOKENS)
        check_choice("caption_tokens", caption_tokens, CAPTION_TOKENS)
        check_choice("reduce", reduce, REDUCTIONS)
        if not 0 <= general < learner.n_ctx:
            raise ValueError(
                "M_CTX must leave context tokens to compare: at least 0 and below the "
                f"{learner.n_ctx} context tokens, got {general}."
            )
        self.learner, self.general, self.space, self.reduce = learner, general, space, reduce
        self.embed: nn.Embedding = text_encoder.token_embedding
        self.tokenizer = text_encoder.kind.tokenizer
        self.instance = prompt_tokens == "instance"
        if space == "text":
            parts = [text_encoder.encode_tokens(part) for part in captions.tokens.split(_CHUNK)]
            self.table = torch.cat(parts)  # [T, D]
        elif space == "pooled":
            self.table = self._word_means(captions)  # [T, E]
        else:
            self._align(captions.tokens, caption_tokens == "words")
            self._set_constant_apart()

    def _word_means(self, captions: CaptionTokens) -> Tensor:
        """Mean embedding of each caption's words, 0 where it has none: [T, E]."""
        weight = self.embed.weight
        ids, starts = (
            found.to(weight.device) for found in whole_captions(captions.texts, self.tokenizer)
        )
        return F.embedding_bag(ids, weight, starts, mode="mean")

    def _align(self, tokens: Tensor, words_only: bool) -> None:
        """Set which tokens [T, P] of the captions [T, 77] meet the prompts, and which count."""
        compared = self.learner.n_ctx if self.instance else self.tokenizer.context_length
        length = compared - self.general  # P
        if words_only:
            first = len(self.tokenizer.start)
            self.tokens = tokens[:, first : first + length]  # [T, P'] with P' = min(P, 76)
            words = self.tokenizer.end_positions(tokens) - first  # [T]
            positions = torch.arange(self.tokens.shape[1], device=tokens.device)
            self.mask = positions < words[:, None]  # [T, P']
        else:
            self.tokens = tokens[:, :length]  # [T, P]
            self.mask = torch.ones_like(self.tokens, dtype=torch.bool)

    def _set_constant_apart(self) -> None:
        """Compute once what positions that no context ever fills add to the distance."""
        self.valid = self.mask.sum(dim=1).clamp(min=1)  # [T]
        self.table = None
        if self.instance:
            return
        prompts = self._whole_prompts().detach()[:, : self.tokens.shape[1]]  # [C, P, E]
        length = self.tokenizer.context_length
        trains = torch.zeros(length, dtype=torch.bool, device=prompts.device)
        trains[self.learner.slots.flatten()] = True
        trains = trains[self.general :][: self.tokens.shape[1]]  # [P]
        self.table = torch.cat(
            [
                constant_distance(self.embed(part), prompts, trains, mask)
                for part, mask in zip(
                    self.tokens.split(_CHUNK), self.mask.split(_CHUNK), strict=True
                )
            ]
        )  # [T, C]
        self.positions = self.general + trains.nonzero().flatten()  # in the prompt
        self.tokens, self.mask = self.tokens[:, trains], self.mask[:, trains]

    def _whole_prompts(self) -> Tensor:
        """Prompts from position m to 76: [C, 77 - m, E]."""
        prompts = self.learner()  # [C, L, E], without the padding
        missing = self.tokenizer.context_length - self.learner.length
        padding = self.embed.weight[self.tokenizer.pad].expand(len(prompts), missing, -1)
        return torch.cat([prompts, padding], dim=1)[:, self.general :]

    def __call__(self, rows: Tensor, text_features: Tensor) -> Tensor:
        """Delta [B, C] of the captions `rows` [B] and all classes.

        Args:
            rows: which captions.
            text_features: of the present prompts [C, D]; used in the text space.
        """
        if self.space == "text":
            return pooled_distance(self.table[rows], text_features)
        if self.space == "pooled":
            prompts = self._compared() if self.instance else self._whole_prompts()
            return pooled_distance(self.table[rows], prompts.mean(dim=1))
        captions, mask = self.embed(self.tokens[rows]), self.mask[rows]  # [B, P, E], [B, P]
        distance = aligned_distance(captions, self._compared(), mask, reduce="sum")  # [B, C]
        if self.table is not None:
            distance = distance + self.table[rows]
        return distance / self.valid[rows, None] if self.reduce == "mean" else distance

    def _compared(self) -> Tensor:
        """Prompt tokens that can train: [C, P, E]."""
        if self.instance:
            return self.learner.contexts()[:, self.general :]
        return self.learner().index_select(1, self.positions)
