from __future__ import annotations

import torch

from modeling.clip.loader import encode_words, tokenize
from modeling.clip.tokenizer import (
    CONTEXT_LENGTH,
    end_positions,
    fit_words,
    tokenize_captions,
    whole_captions,
)

LONG = " ".join(["a skateboarder", "performing", "extraordinarily", "acrobatic", "stunts"] * 20)


def test_short_captions_are_clips_tokens():
    captions = ["a photo of a cat.", "two dogs", ""]
    assert torch.equal(tokenize_captions(captions), tokenize(captions))


def test_long_captions_keep_whole_words_and_as_many_as_fit():
    kept = fit_words(LONG)
    words = LONG.split()
    count = len(kept.split())
    assert kept.split() == words[:count]
    assert len(encode_words(kept)) <= CONTEXT_LENGTH - 2
    assert len(encode_words(" ".join(words[: count + 1]))) > CONTEXT_LENGTH - 2


def test_a_caption_of_exactly_77_tokens_stays_whole():
    caption = " ".join(["cat"] * (CONTEXT_LENGTH - 2))
    assert fit_words(caption) == caption
    assert int(end_positions(tokenize_captions([caption]))) == CONTEXT_LENGTH - 1


def test_the_end_token_survives_and_no_captions_are_fine():
    tokens = tokenize_captions([LONG])
    assert tokens.shape == (1, CONTEXT_LENGTH)
    assert int(tokens.max()) == 49407
    assert tokenize_captions([]).shape == (0, CONTEXT_LENGTH)


def test_whole_captions_are_cut_nowhere():
    captions = ["a cat", "", LONG, "screens"]
    ids, starts = whole_captions(captions)
    ends = [*starts[1:].tolist(), len(ids)]
    for caption, start, end in zip(captions, starts.tolist(), ends, strict=True):
        assert ids[start:end].tolist() == encode_words(caption)
    assert len(encode_words(LONG)) > CONTEXT_LENGTH
    ids, starts = whole_captions([])
    assert ids.shape == starts.shape == (0,) and ids.dtype == starts.dtype == torch.long
