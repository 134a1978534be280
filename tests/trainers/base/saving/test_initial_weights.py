from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn

from trainers.base.saving.initial_weights import load_initial_weights


class Learner(nn.Module):
    def __init__(self):
        super().__init__()
        self.ctx = nn.Parameter(torch.zeros(4, 8))
        self.bias = nn.Parameter(torch.zeros(3))


CONTENT = {"ctx": torch.ones(4, 8), "bias": torch.ones(3)}


def load(path, content):
    torch.save(content, path)
    learner = Learner()
    load_initial_weights(learner, str(path))
    return learner


@pytest.mark.parametrize(
    "content",
    [
        CONTENT,
        {"state_dict": CONTENT, "epoch": 3},
        {"state_dict": {f"module.{name}": value for name, value in CONTENT.items()}},
    ],
)
def test_all_that_is_learnt_is_loaded(content, tmp_path):
    learner = load(tmp_path / "a", content)
    assert all(bool((p == 1).all()) for p in learner.parameters())


def test_what_coop_keeps_beside_it_is_left_out_and_named(tmp_path, capsys):
    load(tmp_path / "a", {"state_dict": {**CONTENT, "token_prefix": torch.ones(3, 1, 8)}})
    assert "['token_prefix']" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"ctx": CONTENT["ctx"]}, r"1 tensor missing \(bias\)"),
        (
            {"context": CONTENT["ctx"]},
            r"2 tensors missing \(ctx, bias\); 1 tensor unknown .*context",
        ),
        ({**CONTENT, "ctx": torch.ones(5, 8)}, r"ctx \(5, 8\) there, \(4, 8\) here"),
        ({**CONTENT, "ctx": torch.full((4, 8), torch.nan)}, "infinite or NaN values in ctx"),
        ({**CONTENT, "ctx": torch.ones(4, 8, dtype=torch.int8)}, "int8"),
        ({"state_dict": 3}, "state_dict of .* is a int"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(content, message, tmp_path):
    torch.save(content, tmp_path / "a")
    learner = Learner()
    with pytest.raises(ValueError, match=message) as refusal:
        load_initial_weights(learner, str(tmp_path / "a"))
    assert str(tmp_path / "a") in str(refusal.value)
    assert not any(bool(p.any()) for p in learner.parameters())


def test_a_file_that_is_damaged_or_absent_is_named(tmp_path):
    (tmp_path / "a").write_bytes(b"no checkpoint")
    with pytest.raises(pickle.UnpicklingError, match="not a readable checkpoint"):
        load_initial_weights(Learner(), str(tmp_path / "a"))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_initial_weights(Learner(), str(tmp_path / "nowhere"))
