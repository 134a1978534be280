from __future__ import annotations

import pytest
import torch
from dassl.config import get_cfg_default
from dassl.optim import build_lr_scheduler, build_optimizer
from torch import nn

CONSTANT_1 = {"WARMUP_EPOCH": 1, "WARMUP_TYPE": "constant"}
CONSTANT_2_COUNTED = {"WARMUP_EPOCH": 2, "WARMUP_TYPE": "constant", "WARMUP_RECOUNT": False}
LINEAR_3 = {"WARMUP_EPOCH": 3, "WARMUP_TYPE": "linear"}
LINEAR_3_COUNTED = {**LINEAR_3, "WARMUP_RECOUNT": False}
SINGLE = {"LR_SCHEDULER": "single_step"}
SINGLE_4 = {"LR_SCHEDULER": "single_step", "STEPSIZE": (4,)}
MULTI = {"LR_SCHEDULER": "multi_step", "STEPSIZE": (3, 6)}
COSINE = {"LR_SCHEDULER": "cosine"}

# Learning rates of epochs 1..10 in units of 1e-3, at LR 2e-3 and MAX_EPOCH 10, as Dassl gives them.
GOLDEN = [
    (SINGLE, {}, "2 2 2 2 2 2 2 2 2 2"),
    (SINGLE, CONSTANT_1, ".01 2 2 2 2 2 2 2 2 2"),
    (SINGLE, LINEAR_3, ".01 .66667 1.3333 2 2 2 2 2 2 2"),
    (SINGLE_4, {}, "2 2 2 2 .2 .2 .2 .2 .02 .02"),
    (SINGLE_4, CONSTANT_1, ".01 2 2 2 2 .2 .2 .2 .2 .02"),
    (SINGLE_4, CONSTANT_2_COUNTED, ".01 .01 2 2 .2 .2 .2 .2 .02 .02"),
    (SINGLE_4, LINEAR_3, ".01 .66667 1.3333 2 2 2 2 .2 .2 .2"),
    (SINGLE_4, LINEAR_3_COUNTED, ".01 .66667 1.3333 2 .2 .2 .2 .2 .02 .02"),
    (MULTI, {}, "2 2 2 .2 .2 .2 .02 .02 .02 .02"),
    (MULTI, CONSTANT_1, ".01 2 2 2 .2 .2 .2 .02 .02 .02"),
    (MULTI, CONSTANT_2_COUNTED, ".01 .01 2 .2 .2 .2 .02 .02 .02 .02"),
    (MULTI, LINEAR_3, ".01 .66667 1.3333 2 2 2 .2 .2 .2 .02"),
    (MULTI, LINEAR_3_COUNTED, ".01 .66667 1.3333 2 2 2 .2 .2 .2 .2"),
    (COSINE, {}, "2 1.9511 1.8090 1.5878 1.3090 1 .69098 .41221 .19098 .048943"),
    (COSINE, CONSTANT_1, ".01 2 1.9511 1.8090 1.5878 1.3090 1 .69098 .41221 .19098"),
    (
        COSINE,
        CONSTANT_2_COUNTED,
        ".01 .01 2 1.7554 1.4472 1.1056 .76393 .45573 .21115 .054111",
    ),
    (COSINE, LINEAR_3, ".01 .66667 1.3333 2 1.9511 1.8090 1.5878 1.3090 1 .69098"),
    (
        COSINE,
        LINEAR_3_COUNTED,
        ".01 .66667 1.3333 2 1.6489 1.2596 .87037 .51923 .24057 .061650",
    ),
]


def optim_cfg(**options):
    cfg = get_cfg_default().OPTIM
    cfg.update({"LR": 2e-3, "MAX_EPOCH": 10, "NAME": "sgd", **options})
    return cfg


def rates(optimizer, scheduler, epochs):
    found = []
    for _ in range(epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def parts(cfg):
    optimizer = build_optimizer(nn.Linear(2, 2), cfg)
    return optimizer, build_lr_scheduler(optimizer, cfg)


@pytest.mark.parametrize(("schedule", "warmup", "expected"), GOLDEN)
def test_golden_rates(schedule, warmup, expected):
    expected = [1e-3 * float(rate) for rate in expected.split()]
    found = rates(*parts(optim_cfg(**schedule, **warmup)), len(expected))
    assert found == pytest.approx(expected, rel=5e-5)


def test_the_rate_is_exact_when_the_warm_up_ends():
    assert rates(*parts(optim_cfg(**COSINE, **LINEAR_3)), 4)[3] == 2e-3


def test_schedules_take_no_warning_to_step(recwarn):
    rates(*parts(optim_cfg(**COSINE, **CONSTANT_1)), 10)
    assert [str(warning.message) for warning in recwarn] == []


def test_a_warm_up_keeps_the_ratio_of_the_groups():
    model = nn.ModuleDict({"old": nn.Linear(2, 2), "new": nn.Linear(2, 2)})
    cfg = optim_cfg(**COSINE, **LINEAR_3, STAGED_LR=True, NEW_LAYERS=("new",))
    optimizer = build_optimizer(model, cfg)
    scheduler = build_lr_scheduler(optimizer, cfg)
    for _ in range(3):
        optimizer.step()
        scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == [2e-4, 2e-3]
    assert len(optimizer.param_groups[0]["params"]) == 2


@pytest.mark.parametrize(("schedule", "warmup", "expected"), GOLDEN)
@pytest.mark.parametrize("stop", [1, 3, 6])
def test_a_restored_schedule_goes_on_exactly(tmp_path, schedule, warmup, expected, stop):
    cfg = optim_cfg(**schedule, **warmup)
    whole = rates(*parts(cfg), 10)

    optimizer, scheduler = parts(cfg)
    rates(optimizer, scheduler, stop)
    state = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    torch.save(state, tmp_path / "state")
    state = torch.load(tmp_path / "state", weights_only=True)

    optimizer, scheduler = parts(cfg)
    optimizer.load_state_dict(state["optimizer"])
    scheduler.load_state_dict(state["scheduler"])
    assert rates(optimizer, scheduler, 10 - stop) == whole[stop:]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"LR_SCHEDULER": "cosin"}, ValueError),
        ({"LR_SCHEDULER": "multi_step", "STEPSIZE": 3}, TypeError),
        ({"LR_SCHEDULER": "single_step", "STEPSIZE": (2.5,)}, TypeError),
        ({"WARMUP_EPOCH": 1, "WARMUP_TYPE": "square"}, ValueError),
    ],
)
def test_unsuitable_schedules_are_refused(options, error):
    with pytest.raises(error):
        parts(optim_cfg(**options))


def test_the_error_lists_the_schedules():
    with pytest.raises(ValueError) as caught:
        parts(optim_cfg(LR_SCHEDULER="cosin"))
    assert str(caught.value) == (
        "scheduler must be one of ['single_step', 'multi_step', 'cosine'], but got cosin"
    )


# A weight of (1, -2) after eight steps at LR 0.1 and WEIGHT_DECAY 0.1, as Dassl gives it.
AFTER_EIGHT_STEPS = {
    "adam": [0.3337162, -2.4040899],
    "amsgrad": [0.3337162, -2.4040899],
    "sgd": [0.0772670, -3.1382239],
    "rmsprop": [-3.6813304, -13.0036545],
    "radam": [0.7322147, -2.0069144],
    "adamw": [0.3137747, -2.5817287],
}


@pytest.mark.parametrize("name", AFTER_EIGHT_STEPS)
def test_golden_steps(name):
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = build_optimizer([weight], optim_cfg(NAME=name, LR=0.1, WEIGHT_DECAY=0.1))
    for step in range(8):
        weight.grad = torch.tensor([0.5 - 0.1 * step, 0.1 + 0.2 * step])
        optimizer.step()
    assert weight.tolist() == pytest.approx(AFTER_EIGHT_STEPS[name], rel=1e-5)


def test_unknown_optimiser():
    with pytest.raises(ValueError) as caught:
        build_optimizer(nn.Linear(2, 2), optim_cfg(NAME="lamb"))
    assert str(caught.value) == (
        "optim must be one of ['adam', 'amsgrad', 'sgd', 'rmsprop', 'radam', 'adamw'], but got lamb"
    )


def test_all_parameters_are_passed_frozen_or_not():
    model = nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    assert len(build_optimizer(model, optim_cfg()).param_groups[0]["params"]) == 2
    assert len(build_optimizer([model.weight], optim_cfg()).param_groups[0]["params"]) == 1
    groups = [{"params": [model.weight], "lr": 0.5}]
    optimizer = build_optimizer(model, optim_cfg(), param_groups=groups)
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_staged_rates_need_a_module():
    with pytest.raises(TypeError):
        build_optimizer(nn.Linear(2, 2).parameters(), optim_cfg(STAGED_LR=True))
