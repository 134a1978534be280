"""How text towers read their tokens."""

from __future__ import annotations

import torch

from modeling.clip.text_kind import TextKind, text_kind
from modeling.clip.tokenizer import CLIP

TEXTS = ["a cat", "two dogs and one rather long sentence"]


def test_clips_reads_at_the_end_token_and_needs_no_padding(vit):
    kind, tokens = text_kind(vit), CLIP.rows(TEXTS)
    ends = [row.index(CLIP.end) for row in tokens.tolist()]
    assert kind.read_positions(tokens).tolist() == ends
    assert torch.equal(kind.without_padding(tokens), tokens[:, : max(ends) + 1])


def test_a_tower_that_sees_padding_keeps_it():
    tokens = CLIP.rows(TEXTS)
    for kind in (TextKind(causal=False), TextKind(reads_last=True)):
        assert kind.sees_padding and torch.equal(kind.without_padding(tokens), tokens)
    assert TextKind(reads_last=True).read_positions(tokens).tolist() == [76, 76]
    assert torch.equal(TextKind(causal=False).read_positions(tokens), CLIP.end_positions(tokens))
