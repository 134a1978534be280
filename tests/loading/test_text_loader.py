from __future__ import annotations

import pytest
import torch

from loading.samplers import EpochBatchSampler
from loading.text_loader import LabelledTexts, TextLoader
from modeling.clip.tokenizer import tokenize_captions
from modeling.encoders.features import Features, join
from modeling.encoders.text_encoder import TextEncoder

SENTENCES = [
    "a cat",
    "a dog and two cats on a very long red sofa",
    "traffic lights in the rain",
    "tv",
    "a dog",
]
TARGETS = torch.eye(5)
CPU = torch.device("cpu")


@pytest.fixture
def encode(vit):
    return TextEncoder(vit).encode_views


def loader(encode, limit):
    texts = LabelledTexts(SENTENCES, TARGETS, encode, CPU, limit)
    return TextLoader(texts, EpochBatchSampler(5, 2, seed=0))


def test_cached_views_are_those_of_encoding_in_every_step(encode, capsys):
    cached, live = loader(encode, 2**30), loader(encode, 0)
    assert cached.cache is not None and live.cache is None
    assert "Encoding in every step" in capsys.readouterr().out
    assert len(cached) == len(live) == 3
    for one, two in zip(cached, live, strict=True):
        assert torch.equal(one["index"], two["index"])
        assert torch.equal(one["label"], two["label"])
        assert one["impath"] == two["impath"]
        ours, theirs = one["features"], two["features"]
        torch.testing.assert_close(ours.global_features, theirs.global_features)
        width = theirs.mask.shape[1]
        assert torch.equal(ours.mask[:, :width], theirs.mask)
        assert not ours.mask[:, width:].any()
        kept = theirs.mask[..., None]
        torch.testing.assert_close(  # local features are cached in fp16
            ours.local_features[:, :width] * kept, theirs.local_features * kept, atol=1e-3, rtol=0
        )


def test_drawn_sentences_are_those_that_their_numbers_pick(encode):
    numbers = torch.tensor([7, 0, 10**9 + 4])  # of five sentences: the third, the first, the fifth
    for limit in (2**30, 0):
        features, targets = LabelledTexts(SENTENCES, TARGETS, encode, CPU, limit).draw(numbers)
        assert torch.equal(targets, TARGETS[[2, 0, 4]])
        expected = encode(tokenize_captions([SENTENCES[i] for i in (2, 0, 4)]))
        width = expected.mask.shape[1]
        assert torch.equal(features.mask[:, :width], expected.mask)
        assert not features.mask[:, width:].any()
        torch.testing.assert_close(
            features.global_features, expected.global_features, atol=1e-5, rtol=0
        )
        kept = expected.mask[..., None]
        torch.testing.assert_close(
            features.local_features[:, :width] * kept,
            expected.local_features * kept,
            atol=1e-3,
            rtol=0,
        )


def test_a_batch_holds_the_views_of_its_sentences(encode):
    for batch in loader(encode, 2**30):
        for row, index in enumerate(batch["index"].tolist()):
            alone = encode(tokenize_captions([SENTENCES[index]]))
            torch.testing.assert_close(
                batch["features"].global_features[row], alone.global_features[0], atol=1e-5, rtol=0
            )
            assert batch["label"][row, index] == 1


def test_global_features_alone_need_no_regions(encode):
    def globally(tokens):
        return Features(encode(tokens).global_features)

    for batch in loader(globally, 2**30):
        assert batch["features"].local_features is None and batch["features"].mask is None


def test_join_pads_captions_and_not_images():
    captions = [
        Features(torch.ones(1, 4), torch.ones(1, r, 4), torch.ones(1, r) > 0) for r in (2, 5)
    ]
    both = join(captions)
    assert both.local_features.shape == (2, 5, 4) and both.mask.sum(dim=1).tolist() == [2, 5]
    images = [Features(torch.ones(2, 4), torch.ones(2, 9, 4)) for _ in range(3)]
    assert join(images).local_features.shape == (6, 9, 4) and join(images).mask is None
