from __future__ import annotations

import pytest
import torch

from modeling.clip.loader import tokenize
from prediction import load_run, zero_shot
from reporting.captions import caption_cosines, nearest_captions, training_captions
from tests.helpers.sets.small_set import NAMES


def test_captions_are_ranked_by_their_text_features_cosine(runs):
    run = load_run(runs / "CoOp" / "seed1")
    captions, number = training_captions(run, 2000)
    assert number == len(captions) == len({*captions})
    assert all(caption.startswith("a picture of ") for caption in captions)
    cosines = caption_cosines(run, captions)
    with torch.inference_mode():
        features = [run.model.clip.text_encoder.encode_tokens(tokenize([c]))[0] for c in captions]
    torch.testing.assert_close(cosines, torch.stack(features) @ run.text.t(), atol=1e-5, rtol=0)
    for column, nearest in enumerate(nearest_captions(cosines, captions, 3)):
        order = cosines[:, column].argsort(descending=True)[:3].tolist()
        assert nearest == [(cosines[i, column].item(), captions[i]) for i in order]


def test_methods_with_regions_compare_words(runs):
    run = load_run(runs / "DualCoOp" / "seed1")
    cosines = caption_cosines(run, ["a cat", "a dog on a wall"])
    assert cosines.shape == (2, len(NAMES))
    alone = caption_cosines(run, ["a cat"])  # padding beside a longer caption changes nothing
    torch.testing.assert_close(cosines[:1], alone, atol=1e-5, rtol=0)


def test_of_many_captions_some_are_taken(runs):
    run = load_run(runs / "CoOp" / "seed1")
    everything, number = training_captions(run, 2000)
    some, of = training_captions(run, 4)
    assert of == number and some == everything[:: -(-number // 4)] and len(some) <= 4


def test_absent_data_is_an_error_with_its_folder():
    words = ["DATASET.NAME", "ListLT", "DATASET.ROOT", "elsewhere"]
    with pytest.raises(FileNotFoundError, match="DATASET.ROOT elsewhere is not there"):
        training_captions(zero_shot(["cat"], words=words), 5)
