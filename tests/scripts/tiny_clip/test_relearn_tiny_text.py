from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from datasets.shapes.captions import SYNONYMS
from datasets.shapes.glyphs import SHAPE_NAMES
from modeling.clip.loader import TINY, load_clip
from scripts.tiny_clip.relearn_text import (
    PictureChunks,
    encode_pictures,
    main,
    partners,
    write_text,
)

FEW = "--pictures 40 --steps 3 --batch-size 8 --workers 0 --eval-images 150".split()


def test_every_class_has_one_partner_and_is_its_partners():
    swap = partners()
    assert sorted(swap) == list(range(len(SHAPE_NAMES)))
    assert (swap[swap] == np.arange(len(SHAPE_NAMES))).all() and (swap != swap[swap]).all()


def named_in(text):
    """Classes that a text names, by name or synonym."""
    return {
        c
        for c, name in enumerate(SHAPE_NAMES)
        if any(re.search(rf"\b{word}\b", text) for word in (name, *SYNONYMS[name]))
    }


@pytest.mark.parametrize(("mix_up", "share"), [(0.0, 0.0), (0.2, 0.2), (1.0, 1.0)])
def test_shapes_are_called_by_their_partners_name_as_often_as_asked(mix_up, share):
    _, pictures = PictureChunks(1, seed=2)[0]
    single = [picture for picture in pictures if len(picture.class_ids) == 1]
    rng, swap, wrong, total = np.random.default_rng(0), partners(), 0, 0
    for picture in single * 5:
        named = named_in(write_text(picture, mix_up, rng))
        wrong += named == {int(swap[picture.class_ids[0]])}
        total += 1
    assert total > 300
    assert wrong / total == pytest.approx(share, abs=0.06 if 0 < share < 1 else 0)


def test_the_image_tower_stays_as_it_is(tmp_path):
    scores = main(["--first", str(TINY), "--output", str(tmp_path / "new.safetensors"), *FEW])
    old, new = load_clip("tiny"), load_clip(str(tmp_path / "new.safetensors"))
    images = torch.rand(4, 3, 96, 96)
    torch.testing.assert_close(new.encode_image(images), old.encode_image(images))
    assert not torch.equal(new.text_projection, old.text_projection)
    assert set(scores) == {"PRETRAIN", "BENCHMARK"}


def test_features_belong_to_their_pictures():
    model = load_clip("tiny")
    features, drawn = encode_pictures(model, 256, seed=4, workers=0)
    images, pictures = PictureChunks(1, seed=4)[0]
    assert drawn == pictures and all(picture.image is None for picture in drawn)
    from scripts.tiny_clip.pretrain import normalise

    expected = model.encode_image(normalise(images[:5]))
    expected = expected / expected.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(features[:5], expected, atol=1e-5, rtol=1e-4)
