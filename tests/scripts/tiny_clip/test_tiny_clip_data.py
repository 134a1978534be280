"""The pairs that the tiny CLIP is pre-trained on."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from datasets.shapes.glyphs import SHAPE_NAMES
from datasets.shapes.renderer import PRETRAIN
from modeling.clip.loader import tokenize
from scripts.tiny_clip.data import (
    OBJECT_SHARES,
    TEXT_TOKENS,
    DrawnBatches,
    Vocabulary,
    draw_pictures,
    write_text,
)


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary()


@pytest.fixture(scope="module")
def batch():
    return DrawnBatches(steps=1, batch_size=16, seed=3)[0]


def test_batches_are_a_function_of_seed_and_step(batch):
    again, other = (DrawnBatches(steps=1, batch_size=16, seed=seed)[0] for seed in (3, 4))
    assert torch.equal(batch.images, again.images) and torch.equal(batch.tokens, again.tokens)
    assert not torch.equal(batch.images, other.images)


def test_every_text_of_a_picture_is_true_of_it(batch):
    assert batch.mentioned.shape == (16 + len(SHAPE_NAMES), len(SHAPE_NAMES))
    assert (batch.mentioned[:16] <= batch.shown).all()
    assert batch.mentioned[:16].any(dim=1).all()
    assert torch.equal(batch.mentioned[16:], torch.eye(len(SHAPE_NAMES)).bool())


def test_vocabulary_keeps_token_order_and_knows_what_it_lacks(vocabulary):
    texts = ["a photo of a star.", "x x x x lightning bolt"]
    rows = vocabulary.rows(texts)
    assert rows.shape == (2, TEXT_TOKENS)
    assert torch.equal(vocabulary.ids[rows], tokenize(texts)[:, :TEXT_TOKENS])
    assert torch.equal(rows.argmax(1), tokenize(texts).argmax(1))
    with pytest.raises(ValueError, match="a quasar.' has a token outside"):
        vocabulary.rows(["a photo of a quasar."])
    with pytest.raises(ValueError, match=f"more than {TEXT_TOKENS} tokens"):
        vocabulary.rows(["star " * TEXT_TOKENS])


def test_every_text_fits_the_vocabulary(vocabulary):
    rng = np.random.default_rng(0)
    texts = [write_text(picture, rng).text for picture in draw_pictures(60, PRETRAIN, rng) * 20]
    assert len(set(texts)) > 900
    assert vocabulary.rows(texts).max() == len(vocabulary) - 1


def test_pictures_have_one_to_four_objects_in_the_given_shares():
    pictures = draw_pictures(400, PRETRAIN, np.random.default_rng(0))
    sizes = Counter(len(picture.class_ids) for picture in pictures)
    for size, share in enumerate(OBJECT_SHARES, start=1):
        assert sizes[size] / 400 == pytest.approx(share, abs=0.07)
