from __future__ import annotations

import pytest
import torch

from modeling.captions.caption_tokens import CaptionTokens, label_sentence
from modeling.clip.loader import tokenize
from modeling.clip.tokenizer import CONTEXT_LENGTH

NAMES = ["cat", "apple", "tv_monitor"]
CAPTIONS = [["a cat", "two cats"], [], ["an apple and a screen"]]
TARGETS = torch.tensor([[1, 0, 0], [0, 0, 0], [0, 1, 1]])


def texts_of(source, index=(0, 1, 2), draw=(0, 0, 0)):
    """Token rows that a batch gets, None for an image without text."""
    rows, captioned = source.rows(torch.tensor(index), torch.tensor(draw))
    return [source.tokens[r] if c else None for r, c in zip(rows, captioned, strict=True)]


def same(found, texts):
    for row, text in zip(found, texts, strict=True):
        assert (row is None) == (text is None)
        if text is not None:
            assert torch.equal(row, tokenize([text])[0]), text


def test_label_sentences():
    assert label_sentence(TARGETS[0], NAMES) == "a photo of a cat."
    assert label_sentence(TARGETS[1], NAMES) == "a photo."
    assert label_sentence(TARGETS[2], NAMES) == "a photo of an apple and a tv monitor."
    assert label_sentence(torch.ones(3), NAMES) == "a photo of a cat, an apple and a tv monitor."
    assert label_sentence(torch.tensor([-1, 1, -1]), NAMES) == "a photo of an apple."


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        ({}, ["a cat two cats", None, "an apple and a screen"]),
        ({"pick": "first"}, ["a cat", None, "an apple and a screen"]),
        ({"missing": "labels"}, ["a cat two cats", "a photo.", "an apple and a screen"]),
        (
            {"source": "labels"},
            ["a photo of a cat.", "a photo.", "a photo of an apple and a tv monitor."],
        ),
    ],
)
def test_sources_picks_and_missing_captions(options, texts):
    same(texts_of(CaptionTokens(CAPTIONS, TARGETS, NAMES, **options)), texts)


def test_random_pick_follows_the_draw():
    source = CaptionTokens(CAPTIONS, TARGETS, NAMES, pick="random")
    same(texts_of(source, draw=(6, 3, 5)), ["a cat", None, "an apple and a screen"])
    same(texts_of(source, draw=(7, 0, 9)), ["two cats", None, "an apple and a screen"])


def test_shuffled_captions_are_those_of_other_images():
    captions = [[f"picture number {i}"] for i in range(30)]
    targets = torch.ones(30, 3)
    given = CaptionTokens(captions, targets, NAMES)
    shuffled = CaptionTokens(captions, targets, NAMES, source="shuffled", seed=1)
    again = CaptionTokens(captions, targets, NAMES, source="shuffled", seed=1)
    assert torch.equal(shuffled.tokens, again.tokens)
    moved = (shuffled.tokens != given.tokens).any(dim=1)
    assert moved.sum() > 20
    assert torch.equal(shuffled.tokens.unique(dim=0), given.tokens.unique(dim=0))


def test_char75_cuts_as_the_release_does():
    long = "a very long caption about many things that goes on and on until it has no end at all"
    source = CaptionTokens([[long]], TARGETS[:1], NAMES, truncation="char75")
    same(texts_of(source, (0,), (0,)), [long[:75]])
    assert long[74] != " " and long[75] != " "  # in the middle of a word


def test_long_captions_fit():
    source = CaptionTokens([["word " * 200]], TARGETS[:1], NAMES)
    assert source.tokens.shape == (1, CONTEXT_LENGTH)


def test_missing_captions_can_be_an_error():
    with pytest.raises(ValueError, match="1 of 3 training images have no caption"):
        CaptionTokens(CAPTIONS, TARGETS, NAMES, missing="error")
    with pytest.raises(ValueError, match="needs captions"):
        CaptionTokens(None, TARGETS, NAMES)
    same(
        texts_of(CaptionTokens(None, TARGETS, NAMES, missing="labels")),
        ["a photo of a cat.", "a photo.", "a photo of an apple and a tv monitor."],
    )


@pytest.mark.parametrize("key", ["source", "truncation", "pick", "missing"])
def test_unknown_choices_are_refused(key):
    with pytest.raises(ValueError, match=r"INPUT.CAPTION\w* must be one of .* got 'no'"):
        CaptionTokens(CAPTIONS, TARGETS, NAMES, **{key: "no"})
