"""Captions name what is drawn, in English that the vocabulary knows."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.shapes.captions import (
    SYNONYMS,
    caption_words,
    describe,
    join_phrases,
    with_article,
)
from datasets.shapes.glyphs import SHAPE_NAMES
from datasets.shapes.renderer import PRETRAIN, render

PICTURES = [
    render(np.random.default_rng(k).permutation(20)[: 1 + k % 4].tolist(), PRETRAIN, rng)
    for k in range(40)
    for rng in [np.random.default_rng(k)]
]


def test_every_mentioned_class_is_named_and_drawn():
    for index, picture in enumerate(PICTURES):
        caption = describe(picture, np.random.default_rng(index))
        assert set(caption.class_ids) <= set(picture.class_ids)
        for class_id in caption.class_ids:
            name = SHAPE_NAMES[class_id]
            assert any(noun in caption.text for noun in (name, *SYNONYMS[name]))


@pytest.mark.parametrize("omit", [0.0, 1.0])
def test_omission_drops_one_of_several_objects(omit):
    for index, picture in enumerate(PICTURES):
        caption = describe(picture, np.random.default_rng(index), omit=omit)
        count = len(picture.class_ids)
        assert len(caption.class_ids) == (count if omit == 0 or count == 1 else count - 1)


def test_synonyms_are_used_as_often_as_asked():
    texts = {
        share: " ".join(
            describe(picture, np.random.default_rng(index), omit=0, synonym=share).text
            for index, picture in enumerate(PICTURES)
        )
        for share in (0.0, 1.0)
    }
    for word in ("mug", "pointer", "toadstool", "parasol"):
        assert word not in texts[0.0]
        assert word in texts[1.0]


def test_captions_differ_and_use_only_listed_words():
    known = set(caption_words())
    texts = [describe(p, np.random.default_rng(i)).text for i, p in enumerate(PICTURES)]
    assert len(set(texts)) > 30
    for text in texts:
        assert text.endswith(".")
        assert set(text.rstrip(".").replace(",", "").split()) <= known | {"."}


def test_phrases_join_as_in_english():
    assert join_phrases(["a key"]) == "a key"
    assert join_phrases(["a key", "a cup"]) == "a key and a cup"
    assert join_phrases(["a key", "a cup", "an arrow"]) == "a key, a cup and an arrow"
    assert with_article("anchor") == "an anchor"
    assert with_article("yellow anchor") == "a yellow anchor"
