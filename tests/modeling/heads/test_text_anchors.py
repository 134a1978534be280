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


@pytest.mark.parametrize(
    ("switches", "trained", "count"),
    [
        ({}, {"positive", "negative", "whole"}, 3),
        ({"regions": False}, {"whole"}, 1),
        ({"whole": False}, {"positive", "negative"}, 2),
        ({"negative": "mean"}, {"positive", "whole"}, 3),
        ({"negative": "off", "whole": False}, {"positive"}, 2),
        ({"residuals": False}, set(), 3),
    ],
)
def test_what_is_off_has_no_parameters(switches, trained, count):
    anchors = TextAnchors(TEXTS, **switches)
    assert set(anchors.residuals) == trained and len(anchors()) == count
    assert {name.split(".")[-1] for name in anchors.state_dict()} == {*trained, "class_bias"}


def test_the_bias_may_stay_as_it_is():
    anchors = TextAnchors(TEXTS, bias=-3.0, trains_bias=False)
    assert anchors.class_bias.tolist() == [-3.0] * 4 and not anchors.class_bias.requires_grad
