from __future__ import annotations

import math

import pytest
from dassl.engine import TRAINER_REGISTRY

from command_line import build_parser
from configuration import build_cfg
from sweeping.search_space import SPACES, Options, Range, read_space

optuna = pytest.importorskip("optuna")

TRAINERS = sorted(
    name
    for name in TRAINER_REGISTRY.registered_names()
    if TRAINER_REGISTRY.get(name).__module__.startswith("trainers.")
)


def config(trainer, *words):
    return build_cfg(build_parser().parse_intermixed_args(["--trainer", trainer, *words]))


@pytest.mark.parametrize("backbone", ["tiny", "vit_b16"])
@pytest.mark.parametrize("trainer", TRAINERS)
def test_every_method_has_a_space_around_its_recipe(trainer, backbone):
    recipe = config(trainer, "--backbone", backbone)
    space = read_space(trainer, recipe)
    assert len(space) >= 4
    if trainer != "ZeroshotCLIP":
        rate = space["OPTIM.LR"]
        assert math.sqrt(rate.low * rate.high) == pytest.approx(recipe.OPTIM.LR)
        assert space["OPTIM.MAX_EPOCH"].low <= recipe.OPTIM.MAX_EPOCH


def test_every_file_says_why():
    for path in SPACES.glob("*.yaml"):
        lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
        assert sum("  # " in line for line in lines) >= len(lines) - 1, path


@pytest.fixture
def write(tmp_path):
    def write(text):
        (tmp_path / "CoOp.yaml").write_text(text)
        return read_space("CoOp", config("CoOp", "OPTIM.LR", "0.02"), tmp_path)

    return write


def test_the_three_forms(write):
    space = write(
        "OPTIM.LR: {times: [0.5, 2]}\n"
        "OPTIM.MAX_EPOCH: {times: [0.1, 2]}\n"
        "OPTIM.WEIGHT_DECAY: {low: 0, high: 1}\n"
        "TRAINER.COOP.N_CTX: {low: 4, high: 16, log: True}\n"
        "OPTIM.MOMENTUM: [0, 0.9]\n"
        "TRAINER.COOP.CSC: [True, False]\n"
    )
    assert space["OPTIM.LR"] == Range(0.01, 0.04, log=True)
    assert space["OPTIM.MAX_EPOCH"] == Range(2, 30, log=True)
    assert space["OPTIM.WEIGHT_DECAY"] == Range(0.0, 1.0)
    assert space["TRAINER.COOP.N_CTX"] == Range(4, 16, log=True)
    assert space["OPTIM.MOMENTUM"] == Options((0.0, 0.9))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        values = {key: own.suggest(trial, key) for key, own in space.items()}
        assert all(own.holds(values[key]) for key, own in space.items())
        assert isinstance(values["OPTIM.MAX_EPOCH"], int)
        assert values["OPTIM.LR"] == float(f"{values['OPTIM.LR']:.4g}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no key"),
        ("OPTIM.LRR: [0.02]", "a key must be one of .* Did you mean 'OPTIM.LR'"),
        ("OPTIM.LR: [0.1, 0.2]", "the recommended recipe has 0.02, which is not one of 0.1, 0.2"),
        ("OPTIM.LR: {low: 0.1, high: 0.2}", "which is not from 0.1 to 0.2"),
        ("OPTIM.LR: 0.02", r"expected \[value, value\], .*, got 0.02"),
        ("OPTIM.LR: {low: 0.01}", "expected .*, got {'low': 0.01}"),
        ("OPTIM.LR: {times: 10}", "expected .*, got {'times': 10}"),
        ("OPTIM.LR: {times: [10]}", "a number below another one, got {'times': "),
        ("OPTIM.LR: {low: 0.2, high: 0.01}", "a number below another one"),
        ("OPTIM.LR: {low: 0.0, high: 1, log: True}", "must begin above 0, got 0.0"),
        ("OPTIM.MAX_EPOCH: {low: -5, high: 20}", "must be 1 or more, got -5"),
        ("TRAINER.SAMPLER: [random, clas_aware]", "got 'clas_aware'. Did you mean 'class_aware'"),
        ("TRAINER.COOP.COSINE_OFFSET: [off, learnt]", "must be one of .*, got False"),
    ],
)
def test_what_is_refused(text, message, write):
    with pytest.raises(ValueError, match=message):
        write(text)


def test_a_method_without_a_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"LMPT has no search space: .*LMPT.yaml"):
        read_space("LMPT", config("LMPT"), tmp_path)
