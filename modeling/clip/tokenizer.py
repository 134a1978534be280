"""Captions to tokens, without cutting a word in two."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from modeling.clip.architecture import CONTEXT_LENGTH
from modeling.clip.loader import encode_words, tokenize


def fit_words(text: str, context_length: int = CONTEXT_LENGTH) -> str:
    """Keep as many leading whole words as fit between the start and the end token.

    Args:
        text: any text.
        context_length: token positions, start and end token included.

    Returns:
        The text itself where it fits, else its longest fitting prefix of whole words.
    """
    room = context_length - 2
    if len(encode_words(text)) <= room:
        return text
    words = text.split()
    low, high = 0, len(words)  # words[:low] fits, words[:high] does not
    while high - low > 1:
        middle = (low + high) // 2
        if len(encode_words(" ".join(words[:middle]))) <= room:
            low = middle
        else:
            high = middle
    return " ".join(words[:low])


def tokenize_captions(captions: Sequence[str]) -> Tensor:
    """Token ids [N, 77] (int64) of N captions, each cut to the whole words that fit."""
    if not captions:
        return torch.zeros(0, CONTEXT_LENGTH, dtype=torch.long)
    return tokenize([fit_words(caption) for caption in captions])


def whole_captions(captions: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Token ids of N captions of any length, cut nowhere, without start and end tokens.

    Returns:
        The ids [S] (int64) of one caption after the other, and where each begins [N].
    """
    ids = [encode_words(caption) for caption in captions]
    lengths = torch.tensor([len(own) for own in ids], dtype=torch.long)
    flat = torch.tensor([token for own in ids for token in own], dtype=torch.long)
    return flat, lengths.cumsum(0) - lengths


def end_positions(tokens: Tensor) -> Tensor:
    """Position of the end token in each row: tokens [N, L] -> [N].

    The end token has the largest id of CLIP's vocabulary, so it is the row's maximum.
    """
    return tokens.argmax(dim=-1)
