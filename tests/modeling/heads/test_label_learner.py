from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from modeling.encoders.features import Features
from modeling.heads.label_learner import LABELS, LabelLearner

B, R, C, D = 2, 3, 4, 16


def unit(*shape):
    return F.normalize(torch.randn(*shape), dim=-1)


def learner(**options):
    return LabelLearner(unit(C, D), unit(C, D), **{"heads": 2, **options})


@pytest.mark.parametrize("source", LABELS)
def test_training_sets_out_from_the_sources_themselves(source):
    model = learner(labels=source)
    labels, disagreement = model.labels(model.names)
    start = {"kap": model.known, "cap": model.names}.get(source, (model.known + model.names) / 2)
    torch.testing.assert_close(labels, F.layer_norm(start, (D,)))
    cosine = F.cosine_similarity(model.known, model.names, dim=-1).mean()
    expected = 1 - cosine if source in ("ifm", "sum") else 0 * cosine
    torch.testing.assert_close(disagreement, expected)


def test_scores_start_as_cosines_of_centred_features():
    model, views = learner(), Features(unit(B, D), unit(B, R, D))
    labels, _ = model.labels(model.names)
    mean = (model.known + model.names) / 2
    centred = views.local_features - views.local_features.mean(dim=-1, keepdim=True)
    expected = F.cosine_similarity(
        centred[:, :, None], (mean - mean.mean(dim=-1, keepdim=True))[None, None], dim=-1
    )
    torch.testing.assert_close(model(labels, views), expected, rtol=1e-3, atol=1e-4)


def test_trained_tokens_reach_every_label():
    model = learner(labels="cap", n_ctx=3)
    torch.nn.init.normal_(model.relate_learnt.attention.out_proj.weight)
    labels, _ = model.labels(model.names)
    for c in range(C):
        (gradient,) = torch.autograd.grad(labels[c].pow(3).sum(), model.ctx, retain_graph=True)
        assert gradient.abs().sum() > 0


def test_each_source_alone_has_no_parameters_of_the_other():
    names = {source: {n for n, _ in learner(labels=source).named_parameters()} for source in LABELS}
    assert not any("learnt" in n or n == "ctx" for n in names["kap"])
    assert not any("relate_known" in n for n in names["cap"])
    assert any("gate" in n for n in names["ifm"]) and not any("gate" in n for n in names["sum"])


def test_the_checkpoint_has_what_is_trained_and_no_text_features():
    model = learner()
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}
