from __future__ import annotations

import torch
from torch.optim import SGD

from trainers.base.plateau import PlateauOnValidation


def test_rate_falls_after_patience_and_only_by_the_metric():
    optimiser = SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = PlateauOnValidation(optimiser, "max", 0.1, 2, min_lr=0.05)
    rates = []
    for metric in (50, 60, 60, 60, 60, 60, 60, 60, 70):
        schedule.step()  # Dassl's end of an epoch changes nothing
        schedule.observe(metric)
        rates.append(round(optimiser.param_groups[0]["lr"], 6))
    assert rates == [1, 1, 1, 1, 0.1, 0.1, 0.1, 0.05, 0.05]


def test_state_survives_a_checkpoint():
    optimiser = SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    first = PlateauOnValidation(optimiser, "max", 0.1, 1)
    for metric in (50, 40):
        first.observe(metric)
    second = PlateauOnValidation(optimiser, "max", 0.1, 1)
    second.load_state_dict(first.state_dict())
    second.observe(40)
    assert optimiser.param_groups[0]["lr"] == 0.1
