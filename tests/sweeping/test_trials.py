from __future__ import annotations

import pytest

from sweeping.trials import MethodTrials, open_storage
from tests.helpers.runs.fake_training import SPACE, small_plan

pytest.importorskip("optuna")


@pytest.fixture
def sweep(roots, tmp_path):
    """Opens the trials of one method, as a new process would."""

    def sweep(trainer="CoOp", storage="", **more):
        plan = small_plan(roots["ViT"], tmp_path, **more)
        opened = open_storage(storage or str(tmp_path / "journal"))
        return MethodTrials(plan, plan.method(trainer), opened)

    return sweep


def test_the_first_trial_is_the_recommended_recipe(sweep):
    claim = sweep().claim()
    assert claim.number == 0 and claim.folder.name == "trial0" and claim.folder.is_dir()
    wanted = {"OPTIM.LR": 0.015, "OPTIM.MAX_EPOCH": 15, "TRAINER.SAMPLER": "class_aware"}
    assert claim.setting == wanted


@pytest.mark.parametrize(("sampler", "number"), [("random", 4), ("tpe", 12)])
def test_settings_follow_from_the_seed_alone(sampler, number, sweep, tmp_path):
    """Opened anew for every trial, or at once: the same list. Other seeds and methods: another."""
    more = {"sampler": sampler, "trials": number}  # tpe draws at random 10 times
    for _ in range(number):
        trials = sweep(**more)
        claim = trials.claim()
        trials.finish(claim, 50 - 100 * claim.setting["OPTIM.LR"])
    together = sweep(storage=str(tmp_path / "other"), output=tmp_path / "other_out", **more)
    while claim := together.claim():
        together.finish(claim, 50 - 100 * claim.setting["OPTIM.LR"])
    assert trials.outcomes() == together.outcomes()
    rates = [outcome.setting["OPTIM.LR"] for outcome in trials.outcomes()]
    assert len(set(rates)) == number
    other = sweep(trainer="LMPT", **more)
    third = sweep(storage=str(tmp_path / "third"), output=tmp_path / "third_out", seed=2, **more)
    for trials in (other, third):
        claims = [trials.claim() for _ in range(2)]
        assert claims[1].number == 1 and claims[1].setting["OPTIM.LR"] not in rates


def test_each_trial_is_claimed_once_until_it_is_abandoned(sweep):
    one, other = sweep(), sweep()
    claims = [one.claim(), other.claim(), one.claim()]
    assert [claim.number for claim in claims] == [0, 1, 2]
    assert one.claim() is None and other.claim() is None and one.outcomes() == []
    one.finish(claims[0], 40.0)
    claims[1].lock.release()  # as the system does when a process ends
    again = one.claim()
    assert (again.number, again.setting) == (1, claims[1].setting)
    assert other.claim() is None
    one.fail(again, "the loss is nan")
    other.prune(claims[2])
    assert one.claim() is None
    found = [(o.number, o.state, o.value, o.error) for o in other.outcomes()]
    assert found == [
        (0, "finished", 40.0, ""),
        (1, "failed", None, "the loss is nan"),
        (2, "pruned", None, ""),
    ]


def test_the_best_trial_is_the_first_of_the_highest(sweep):
    trials = sweep()
    assert trials.best() is None
    for value in (40.0, 60.0, 60.0):
        trials.finish(trials.claim(), value)
    assert trials.best().number == 1
    more = sweep(trials=5)  # a sweep may be made longer
    claims = [more.claim(), more.claim()]
    assert [claim.number for claim in claims] == [3, 4] and more.claim() is None
    assert len(sweep(trials=2).outcomes()) == 2


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"seed": 2}, "--seed: 1 there, 2 now"),
        ({"score": "softmax"}, "--score: 'logit' there, 'softmax' now"),
        ({"pruner": "median"}, "--pruner: 'none' there"),
        ({"space": SPACE.replace("0.2", "0.5")}, "search space: .*from 0.001 to 0.5"),
        ({"overrides": ("DATASET.FOLDER", "./mine")}, "overrides: "),
    ],
)
def test_other_rules_are_another_sweep(more, named, sweep):
    sweep().claim()
    with pytest.raises(ValueError, match=named):
        sweep(**more)


def test_storage_and_folder_belong_together(sweep, tmp_path):
    sweep().claim()
    for other in ({"storage": str(tmp_path / "new")}, {"output": tmp_path / "elsewhere"}):
        with pytest.raises(ValueError, match="hold trials of two sweeps"):
            sweep(**other)


def test_any_storage_of_optunas_will_do(sweep, tmp_path):
    url = f"sqlite:///{tmp_path / 'sweep.db'}"
    first = sweep(storage=url).claim()
    first.lock.release()
    assert sweep(storage=url).claim().setting == first.setting
