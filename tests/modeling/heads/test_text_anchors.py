from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from modeling.heads.text_anchors import NEGATIVES, TextAnchors

TEXTS = F.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
MEAN = TEXTS.mean(dim=0)


@pytest.mark.parametrize("negative", NEGATIVES)
def test_anchors_start_at_the_text_features(negative):
    margin, positive, whole = TextAnchors(TEXTS, negative=negative)()
    torch.testing.assert_close(positive, TEXTS)
    torch.testing.assert_close(margin, TEXTS if negative == "off" else TEXTS - MEAN)
    torch.testing.assert_close(whole, TEXTS - MEAN)


@pytest.mark.parametrize("looks", [1, 3])
def test_moved_anchors_row_by_row(looks):
    anchors = TextAnchors(TEXTS, looks, generator=torch.Generator().manual_seed(1))
    for residual in anchors.residuals.values():
        nn.init.normal_(residual, std=0.5)
    moves = dict(anchors.residuals)
    margins, positives, whole = anchors()
    assert margins.shape == positives.shape == (4 * looks, 8)
    for k in range(looks):
        for c in range(4):
            start = anchors.beside[k - 1, c] if k else TEXTS[c]
            moved = start + moves["positive"][k, c]
            unit = moved / moved.square().sum().sqrt()
            torch.testing.assert_close(positives[4 * k + c], unit)
            negative = MEAN + moves["negative"][k, c]
            torch.testing.assert_close(margins[4 * k + c], unit - negative)
    for c in range(4):
        torch.testing.assert_close(whole[c], TEXTS[c] - MEAN + moves["whole"][c])
    squares = [d**2 for move in moves.values() for d in move.flatten().tolist()]
    assert anchors.square().item() == pytest.approx(sum(squares), rel=1e-5)


def test_further_looks_start_beside_the_texts():
    texts = F.normalize(torch.randn(30, 64, generator=torch.Generator().manual_seed(2)), dim=-1)

    def looking(seed):
        return TextAnchors(texts, looks=3, generator=torch.Generator().manual_seed(seed))

    anchors = looking(1)
    margins, positives, whole = anchors()
    first, *further = positives.view(3, 30, 64)
    torch.testing.assert_close((first, whole), (texts, texts - texts.mean(dim=0)))
    torch.testing.assert_close(margins, positives - texts.mean(dim=0))
    torch.testing.assert_close(positives.norm(dim=-1), torch.ones(90))
    assert not torch.allclose(*further)
    lengths = (anchors.beside - texts).norm(dim=-1)  # of directions in 64 channels
    assert lengths.mean().item() == pytest.approx(0.5, abs=0.05)
    assert torch.equal(positives, looking(1)()[1])
    assert not torch.equal(positives, looking(2)()[1])


def test_saved_anchors_look_where_they_looked():
    anchors = TextAnchors(TEXTS, looks=2, generator=torch.Generator().manual_seed(1))
    other = TextAnchors(TEXTS, looks=2, generator=torch.Generator().manual_seed(2))
    other.load_state_dict(anchors.state_dict())
    assert all(map(torch.equal, anchors(), other()))


@pytest.mark.parametrize(
    ("switches", "trained", "count"),
    [
        ({}, {"positive", "negative", "whole"}, 3),
        ({"looks": 2}, {"positive", "negative", "whole"}, 3),
        ({"looks": 2, "residuals": False}, set(), 3),
        ({"looks": 0}, {"whole"}, 1),
        ({"whole": False}, {"positive", "negative"}, 2),
        ({"negative": "mean"}, {"positive", "whole"}, 3),
        ({"negative": "off", "whole": False}, {"positive"}, 2),
        ({"residuals": False}, set(), 3),
    ],
)
def test_what_is_off_has_no_parameters(switches, trained, count):
    anchors = TextAnchors(TEXTS, **switches)
    assert set(anchors.residuals) == trained and len(anchors()) == count
    beside = {"beside"} if switches.get("looks", 1) > 1 else set()
    saved = {name.split(".")[-1] for name in anchors.state_dict()}
    assert saved == {*trained, *beside, "class_bias"}


def test_the_bias_may_stay_as_it_is():
    anchors = TextAnchors(TEXTS, bias=-3.0, trains_bias=False)
    assert anchors.class_bias.tolist() == [-3.0] * 4 and not anchors.class_bias.requires_grad
