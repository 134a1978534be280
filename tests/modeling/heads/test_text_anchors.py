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


def test_moved_anchors_row_by_row():
    anchors = TextAnchors(TEXTS)
    for residual in anchors.residuals.values():
        nn.init.normal_(residual, std=0.5)
    moves = dict(anchors.residuals)
    for c, (margin, positive, whole) in enumerate(zip(*anchors(), strict=True)):
        moved = TEXTS[c] + moves["positive"][c]
        unit = moved / moved.square().sum().sqrt()
        torch.testing.assert_close(positive, unit)
        torch.testing.assert_close(margin, unit - (MEAN + moves["negative"][c]))
        torch.testing.assert_close(whole, TEXTS[c] - MEAN + moves["whole"][c])


def test_further_looks_start_beside_the_texts_at_a_score_of_zero():
    def looking(seed):
        return TextAnchors(TEXTS, looks=3, generator=torch.Generator().manual_seed(seed))

    anchors = looking(1)
    scores, guides, whole = anchors()
    first, second, third = guides.view(3, 4, 8)
    torch.testing.assert_close((first, whole), (TEXTS, TEXTS - MEAN))
    torch.testing.assert_close(scores[:4], TEXTS - MEAN)
    assert not scores[4:].any() and not torch.allclose(second, third)
    torch.testing.assert_close(guides.norm(dim=-1), torch.ones(12))
    assert ((second * TEXTS).sum(dim=-1) < 0.99).all()
    assert torch.equal(guides, looking(1)()[1]) and not torch.equal(guides, looking(2)()[1])


def test_moved_further_looks_row_by_row():
    anchors = TextAnchors(TEXTS, looks=3, generator=torch.Generator().manual_seed(1))
    for residual in anchors.residuals.values():
        nn.init.normal_(residual, std=0.5)
    scores, guides, _ = anchors()
    for k in range(2):
        for c in range(4):
            moved = anchors.beside[k, c] + anchors.residuals["guide"][k, c]
            row = 4 * (k + 1) + c
            torch.testing.assert_close(guides[row], moved / moved.square().sum().sqrt())
            torch.testing.assert_close(scores[row], anchors.residuals["value"][k, c])
    squares = [
        d**2 for name in anchors.residuals for d in anchors.residuals[name].flatten().tolist()
    ]
    assert anchors.square().item() == pytest.approx(sum(squares), rel=1e-5)


def test_saved_anchors_look_where_they_looked():
    anchors = TextAnchors(TEXTS, looks=2, generator=torch.Generator().manual_seed(1))
    other = TextAnchors(TEXTS, looks=2, generator=torch.Generator().manual_seed(2))
    other.load_state_dict(anchors.state_dict())
    assert all(map(torch.equal, anchors(), other()))


@pytest.mark.parametrize(
    ("switches", "trained", "count"),
    [
        ({}, {"positive", "negative", "whole"}, 3),
        ({"looks": 2}, {"positive", "negative", "whole", "guide", "value"}, 3),
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
    beside = {"beside"} if "guide" in trained else set()
    saved = {name.split(".")[-1] for name in anchors.state_dict()}
    assert saved == {*trained, *beside, "class_bias"}


def test_the_bias_may_stay_as_it_is():
    anchors = TextAnchors(TEXTS, bias=-3.0, trains_bias=False)
    assert anchors.class_bias.tolist() == [-3.0] * 4 and not anchors.class_bias.requires_grad
