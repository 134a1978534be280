from __future__ import annotations

import torch
from torch import nn

from modeling.clip.uninitialised import Uninitialised


def module():
    return nn.Sequential(
        nn.Linear(3, 2), nn.Embedding(5, 4), nn.MultiheadAttention(4, 2), nn.BatchNorm1d(4)
    )


def test_no_random_number_is_drawn_in_it_and_loaded_weights_are_whole():
    source = module()
    before = torch.get_rng_state()
    with Uninitialised():
        made = module()
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(made[3].weight, torch.ones(4))  # what is not random is there
    made.load_state_dict(source.state_dict())
    for name, value in source.state_dict().items():
        assert torch.equal(made.state_dict()[name], value)


def test_modules_are_initialised_after_it():
    with Uninitialised():
        pass
    before = torch.get_rng_state()
    linear = nn.Linear(30, 20)
    assert not torch.equal(torch.get_rng_state(), before)
    assert 0 < linear.weight.abs().max() <= 30**-0.5
