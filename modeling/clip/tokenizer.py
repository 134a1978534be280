"""Texts to tokens: CLIP's tokenizer, the form of others, and captions cut to whole words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modeling.clip.architecture import CONTEXT_LENGTH, VOCABULARY
from modeling.clip.loader import encode_words, vocabulary


@dataclass(frozen=True)
class Tokenizer:
    """Texts to token ids, as a text tower was trained on them.

    Attributes:
        encode: a text to its ids, without start, end and padding.
        vocabulary: the text of every token, in the order of their ids.
        start: ids before every text; often one, or none.
        end: the id behind every text.
        pad: the id of the positions behind that.
        context_length: L, positions of a row.
        name: whose it is, for messages.
    """

    encode: Callable[[str], list[int]]
    vocabulary: Callable[[], list[str]]
    start: tuple[int, ...]
    end: int
    pad: int = 0
    context_length: int = CONTEXT_LENGTH
    name: str = "CLIP"

    @property
    def room(self) -> int:
        """Tokens of a text that fit between start and end."""
        return self.context_length - len(self.start) - 1

    def rows(self, texts: Sequence[str]) -> Tensor:
        """Token ids [N, L] (int64) of N texts that fit, padded.

        Raises:
            ValueError: a text does not fit.
        """
        tokens = torch.full((len(texts), self.context_length), self.pad, dtype=torch.long)
        for row, text in zip(tokens, texts, strict=True):
            ids = [*self.start, *self.encode(text), self.end]
            if len(ids) > len(row):
                raise ValueError(
                    f"{self.name} takes {len(row)} tokens, {len(ids)} are in: {text!r}"
                )
            row[: len(ids)] = torch.tensor(ids)
        return tokens

    def end_positions(self, tokens: Tensor) -> Tensor:
        """Position of the end token in each row: tokens [N, L] -> [N].

        The first of them, for padding may have the same id.
        """
        return (tokens == self.end).int().argmax(dim=-1)


CLIP = Tokenizer(encode_words, vocabulary, start=(VOCABULARY - 2,), end=VOCABULARY - 1)


def fit_words(text: str, tokenizer: Tokenizer = CLIP) -> str:
    """Keep as many leading whole words as fit between the start and the end token.

    Args:
        text: any text.
        tokenizer: of the text tower.

    Returns:
        The text itself where it fits, else its longest fitting prefix of whole words.
    """
    if len(tokenizer.encode(text)) <= tokenizer.room:
        return text
    words = text.split()
    low, high = 0, len(words)  # words[:low] fits, words[:high] does not
    while high - low > 1:
        middle = (low + high) // 2
        if len(tokenizer.encode(" ".join(words[:middle]))) <= tokenizer.room:
            low = middle
        else:
            high = middle
    return " ".join(words[:low])


def tokenize_captions(captions: Sequence[str], tokenizer: Tokenizer = CLIP) -> Tensor:
    """Token ids [N, L] (int64) of N captions, each cut to the whole words that fit."""
    return tokenizer.rows([fit_words(caption, tokenizer) for caption in captions])


def whole_captions(captions: Sequence[str], tokenizer: Tokenizer = CLIP) -> tuple[Tensor, Tensor]:
    """Token ids of N captions of any length, cut nowhere, without start and end tokens.

    Returns:
        The ids [S] (int64) of one caption after the other, and where each begins [N].
    """
    ids = [tokenizer.encode(caption) for caption in captions]
    lengths = torch.tensor([len(own) for own in ids], dtype=torch.long)
    flat = torch.tensor([token for own in ids for token in own], dtype=torch.long)
    return flat, lengths.cumsum(0) - lengths


def end_positions(tokens: Tensor, tokenizer: Tokenizer = CLIP) -> Tensor:
    """Position of the end token in each row: tokens [N, L] -> [N]."""
    return tokenizer.end_positions(tokens)
