"""The trials of one method: kept by Optuna, claimed by whoever runs them.

A trial's number is its place in the sweep. Several processes, on several machines, may share the
storage and the output folder. Who runs a trial holds a lock of the operating system in the trial's
folder, which goes with the process however that ends: a trial that the storage calls running and
whose lock is free was abandoned, and is taken over with the setting that it has.
"""

from __future__ import annotations

import uuid
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock

from common.files import write_text
from sweeping.claims import try_lock
from sweeping.plan import Method, Plan

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial

_CLAIMS, _ID = ".claims.lock", "sweep_id"
_FINISHED = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}


@dataclass
class Claim:
    """A trial that this process runs, until it is told how that ended.

    Attributes:
        number: of the trial.
        folder: of its run.
        setting: config keys and their values.
        trial: that of Optuna.
        lock: held in the folder.
    """

    number: int
    folder: Path
    setting: dict[str, object]
    trial: Trial
    lock: FileLock


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: "finished" with its mAP in percent, "pruned", or "failed" and why."""

    number: int
    state: str
    setting: dict[str, object]
    value: float | None
    error: str


class MethodTrials:
    """A method's trials.

    Args:
        plan: of the sweep.
        method: one of its methods.
        storage: that of `open_storage`.

    Raises:
        ValueError: the storage or the folder holds trials of a sweep under other rules.
    """

    def __init__(self, plan: Plan, method: Method, storage: BaseStorage) -> None:
        import optuna

        self.plan, self.method, self.folder = plan, method, method.folder
        self.study = optuna.create_study(
            storage=storage,
            study_name=f"{plan.name}/{method.trainer}",
            direction="maximize",
            pruner=_pruner(plan.pruner),
            load_if_exists=True,
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / _CLAIMS):
            self._agree()

    def claim(self) -> Claim | None:
        """An abandoned trial, or else a new one; None if all that is left is run by others."""
        with FileLock(self.folder / _CLAIMS):
            trials = self._trials()
            for trial in trials:
                lock = try_lock(self._run_folder(trial.number)) if _runs(trial) else None
                if lock is not None:
                    if _runs(self._trials()[trial.number]):  # it may just have ended
                        return self._claimed(self._reopened(trial), lock)
                    lock.release()
            return self._new() if len(trials) < self.plan.trials or _waits(trials[-1]) else None

    def finish(self, claim: Claim, value: float) -> None:
        """Note a trial's validation mAP, in percent."""
        self._tell(claim, "COMPLETE", value)

    def prune(self, claim: Claim) -> None:
        """Note that a trial was ended early."""
        self._tell(claim, "PRUNED")

    def fail(self, claim: Claim, error: str) -> None:
        """Note that a trial failed, and why."""
        claim.trial.set_user_attr("error", error)
        self._tell(claim, "FAIL")

    def outcomes(self) -> list[Outcome]:
        """The trials that have ended, by number."""
        return _outcomes(self._trials())

    def best(self) -> Outcome | None:
        """The finished trial of the highest mAP, the first of equal ones; None if none finished."""
        finished = [outcome for outcome in self.outcomes() if outcome.state == "finished"]
        return max(finished, key=lambda outcome: (outcome.value, -outcome.number), default=None)

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)[: self.plan.trials]

    def _run_folder(self, number: int) -> Path:
        return self.folder / f"trial{number}"

    def _new(self) -> Claim:
        """The next trial; the first one is the recommended recipe."""
        if not self._trials():
            self.study.enqueue_trial(self.method.recommended)
        started = [trial for trial in self._trials() if not _waits(trial)]
        self.study.sampler = _sampler(self.plan, self.method.trainer, len(started))
        trial = self.study.ask()
        return self._claimed(trial, try_lock(self._run_folder(trial.number)))

    def _reopened(self, trial: FrozenTrial) -> Trial:
        from optuna.trial import Trial

        self.study.sampler = _sampler(self.plan, self.method.trainer, trial.number)
        return Trial(self.study, trial._trial_id)  # Optuna has no public way to one by number

    def _claimed(self, trial: Trial, lock: FileLock) -> Claim:
        setting = {key: own.suggest(trial, key) for key, own in self.method.space.items()}
        if trial.number == 0:
            setting = self.method.recommended  # to the last digit
        trial.set_user_attr("setting", setting)
        return Claim(trial.number, self._run_folder(trial.number), setting, trial, lock)

    def _tell(self, claim: Claim, state: str, value: float | None = None) -> None:
        from optuna.trial import TrialState

        self.study.tell(claim.number, value, TrialState[state], skip_if_finished=True)
        claim.lock.release()

    def _agree(self) -> None:
        """Refuse to go on with trials of other rules, or whose runs lie elsewhere."""
        space = {key: str(values) for key, values in self.method.space.items()}
        rules = {**self.plan.rules(), "search space": space, "recipe": self.method.recommended}
        path = self.folder / _ID
        own = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
        known = self.study.user_attrs
        if "id" not in known and not any(self.folder.glob("trial*")):
            own = uuid.uuid4().hex
            write_text(path, own + "\n")
            self.study.set_user_attr("rules", rules)
            self.study.set_user_attr("id", own)
            return
        if known.get("id") != own:
            raise ValueError(
                f"The storage and {self.folder} hold trials of two sweeps. Processes that share a "
                "storage share the output folder, too; a new sweep needs a new one of both."
            )
        before = known["rules"]
        changed = [
            f"  {key}: {before.get(key)!r} there, {rules[key]!r} now"
            for key in rules
            if rules[key] != before.get(key)
        ]
        if changed:
            raise ValueError(
                f"{self.folder} holds trials under other rules:\n"
                + "\n".join(changed)
                + "\nChoose another --output, or move that folder and the storage away."
            )


def stored_outcomes(plan: Plan, storage: BaseStorage) -> dict[str, list[Outcome]]:
    """The trials that have ended of every method that was swept so far, by the method's name.

    Args:
        plan: says which data set and backbone.
        storage: that of `open_storage`.
    """
    import optuna

    found = {}
    for name in sorted(optuna.get_all_study_names(storage)):
        sweep, _, trainer = name.rpartition("/")
        if sweep == plan.name:
            study = optuna.load_study(study_name=name, storage=storage)
            found[trainer] = _outcomes(study.get_trials(deepcopy=False))
    return found


def open_storage(place: str) -> BaseStorage:
    """Optuna's storage: a journal in a file, or what a URL says.

    Args:
        place: a path, or a URL such as "sqlite:///sweep.db".

    Raises:
        ImportError: there is no Optuna.
    """
    try:
        import optuna
    except ImportError:
        raise ImportError(
            "A sweep needs optuna. Run: pip install -r requirements-optional.txt"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if "://" in place:
        return optuna.storages.get_storage(place)
    from optuna.storages import journal

    Path(place).parent.mkdir(parents=True, exist_ok=True)
    return optuna.storages.JournalStorage(journal.JournalFileBackend(place))


def _outcomes(trials: list[FrozenTrial]) -> list[Outcome]:
    return [
        Outcome(
            trial.number,
            _FINISHED[trial.state.name],
            trial.user_attrs["setting"],
            trial.value if trial.state.name == "COMPLETE" else None,
            trial.user_attrs.get("error", ""),
        )
        for trial in trials
        if trial.state.name in _FINISHED
    ]


def _runs(trial: FrozenTrial) -> bool:
    return trial.state.name == "RUNNING"


def _waits(trial: FrozenTrial) -> bool:
    return trial.state.name == "WAITING"


def _sampler(plan: Plan, trainer: str, number: int) -> BaseSampler:
    """A sampler for one trial alone, so that interruptions change nothing."""
    from optuna.samplers import GPSampler, RandomSampler, TPESampler

    kinds = {"random": RandomSampler, "tpe": TPESampler, "gp": GPSampler}
    words = [plan.seed, number, zlib.crc32(trainer.encode())]
    return kinds[plan.sampler](seed=int(np.random.SeedSequence(words).generate_state(1)[0]))


def _pruner(name: str) -> BasePruner:
    """What ends runs early; its steps are percent of a run's epochs."""
    from optuna.pruners import MedianPruner, NopPruner, SuccessiveHalvingPruner

    if name == "halving":
        return SuccessiveHalvingPruner(min_resource=25, reduction_factor=2)
    return MedianPruner() if name == "median" else NopPruner()
