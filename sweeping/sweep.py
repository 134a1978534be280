"""A sweep: all trials of all methods, then the choices, then these on the test images."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

from filelock import FileLock
from tqdm import tqdm

from evaluation.results.reports import load_results
from sweeping.chosen import chosen_file, chosen_trial, refuse_late_trials, write_chosen
from sweeping.claims import try_lock
from sweeping.engine import AnyWorker, Engine
from sweeping.plan import Method, Plan
from sweeping.recipe_files import keep_text, recipe_text
from sweeping.trial_table import write_trials
from sweeping.trials import Claim, MethodTrials, open_storage, stored_outcomes
from sweeping.workers import INTERRUPTED, STOPPED

_POLL = 1.0  # seconds between looks at what other processes run
_RESULTS, _CONSOLE = "results.json", "console.txt"
_LONGEST = 300  # characters of an error in the table

Job = Callable[[AnyWorker], None]


class Sweep:
    """Runs what is left of a sweep.

    Args:
        plan: what is compared.
        storage: of the trials, see `open_storage`; empty: a journal in the sweep's folder.

    Raises:
        ValueError: a search space or an earlier part of the sweep does not fit the plan.
        FileNotFoundError: a search space, or the data, are absent.
        ImportError: there is no Optuna.
    """

    def __init__(self, plan: Plan, storage: str = "") -> None:
        self.plan = plan
        self._storage = open_storage(storage or str(plan.folder / "trials.journal"))
        methods = [plan.method(trainer) for trainer in plan.trainers]
        for method in methods:
            refuse_late_trials(plan, method)
        self.trials = [MethodTrials(plan, method, self._storage) for method in methods]
        self._interrupted = threading.Event()
        self._writing = threading.Lock()
        self._failed: dict[Path, str] = {}  # runs on the test images

    @property
    def table(self) -> Path:
        """Of the trials of all methods that were swept so far."""
        return self.plan.folder / "trials.csv"

    def run(self, engine: Engine | None = None) -> list[str]:
        """Run it to its end.

        Args:
            engine: what carries out the runs; None: one at a time, on this machine.

        Returns:
            What went wrong, beside trials that failed.

        Raises:
            KeyboardInterrupt: what has ended is kept; the same sweep goes on from there.
            ValueError, OSError, ImportError: as `Engine.workers`.
        """
        with (engine or Engine()).workers(self._interrupted) as workers:
            total = self.plan.trials * len(self.trials)
            self._work(workers, "Trials", total, self._ended, self._take_trial)
            # Of all methods, before the first look at the test images.
            problems = [text for trials in self.trials if (text := self._choose(trials))]
            self._write_table()
            self._work(workers, "Test", len(self._finals()), self._tested, self._take_final)
        return [*problems, *(f"{folder}: {text}" for folder, text in self._failed.items())]

    def results(self) -> list[Path]:
        """Results of the chosen settings on the test images."""
        found = [folder / _RESULTS for _, folder, _ in self._finals()]
        return [path for path in found if path.is_file()]

    def _work(
        self,
        workers: list[AnyWorker],
        title: str,
        total: int,
        ended: Callable[[], int],
        take: Callable[[], Job | None],
    ) -> None:
        """Let workers take jobs until all have ended, by whomever they are run."""
        bar = tqdm(total=total, initial=ended(), desc=title, unit="run")

        def loop(worker: AnyWorker) -> None:
            while not self._interrupted.is_set() and ended() < total:
                if job := take():
                    job(worker)
                else:
                    time.sleep(_POLL)
                with self._writing:
                    bar.update(ended() - bar.n)

        with bar, ThreadPoolExecutor(len(workers)) as pool:
            try:
                futures = [pool.submit(loop, worker) for worker in workers]
                for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                    future.result()
                if self._interrupted.is_set():
                    raise KeyboardInterrupt
            except BaseException:
                self._interrupted.set()
                for worker in workers:
                    worker.stop()
                raise

    def _ended(self) -> int:
        return sum(len(trials.outcomes()) for trials in self.trials)

    def _take_trial(self) -> Job | None:
        for trials in self.trials:
            if claim := trials.claim():
                return partial(self._run_trial, trials, claim)
        return None

    def _run_trial(self, trials: MethodTrials, claim: Claim, worker: AnyWorker) -> None:
        try:
            self._run_claimed(trials, claim, worker)
        finally:  # an error, too, leaves the trial to others
            claim.lock.release()

    def _run_claimed(self, trials: MethodTrials, claim: Claim, worker: AnyWorker) -> None:
        plan, method, folder = self.plan, trials.method, claim.folder
        epochs = int(claim.setting.get("OPTIM.MAX_EPOCH", method.epochs))
        recipe = folder / "recipe.yaml"
        about = f"{method.trainer}: trial {claim.number} of a sweep."
        keep_text(recipe, recipe_text(method.recipe, claim.setting, about))

        trial = claim.trial  # alone, for `watch` may be pickled: the claim holds a lock

        def watch(done: int, split: str, metric: float) -> bool:
            trial.report(metric, step=round(100 * done / epochs))
            return not trial.should_prune()

        words = plan.trial_words(method.trainer, folder, recipe, epochs)
        watched = watch if plan.pruner != "none" else None
        status, error = self._run(worker, folder, words, watched)
        if self._interrupted.is_set():
            return
        value = None if error or status == STOPPED else _mean_ap(folder / _RESULTS)
        if status == STOPPED:
            trials.prune(claim)
        elif value is None:
            trials.fail(claim, error or "its mAP is not defined")
        else:
            trials.finish(claim, value)
        self._write_table()

    def _run(
        self, worker: AnyWorker, folder: Path, words: list[str], watch: Callable | None = None
    ) -> tuple[int, str]:
        """Status of a run, and the reason if it failed; one that has finished is not run again."""
        if (folder / _RESULTS).is_file():
            return 0, ""
        status = worker.run(words, folder / _CONSOLE, watch)
        if status in (0, STOPPED, INTERRUPTED):
            return status, ""
        return status, _last_words(folder / _CONSOLE) or f"its process ended with {status}"

    def _choose(self, trials: MethodTrials) -> str:
        """Choose a method's setting; returns what prevents it."""
        best = trials.best()
        if best is None:
            return f"{trials.method.trainer}: no trial has finished, see {self.table}"
        with self._alone():
            write_chosen(self.plan, trials.method, best)
        return ""

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """While nobody else, here or elsewhere, writes what all who share the sweep write."""
        with self._writing, FileLock(self.plan.folder / ".table.lock"):
            yield

    def _write_table(self) -> None:
        with self._alone():
            outcomes = stored_outcomes(self.plan, self._storage)
            chosen = {trainer: chosen_trial(self.plan.folder / trainer) for trainer in outcomes}
            write_trials(self.table, outcomes, chosen)

    def _finals(self) -> list[tuple[Method, Path, int]]:
        """Method, folder and seed of the runs on the test images."""
        methods = [trials.method for trials in self.trials]
        return [
            (method, method.folder / "chosen" / f"seed{seed}", seed)
            for method in methods
            if chosen_file(method.folder).is_file()
            for seed in method.seeds
        ]

    def _tested(self) -> int:
        return len(self.results()) + len(self._failed)

    def _take_final(self) -> Job | None:
        for method, folder, seed in self._finals():
            if folder in self._failed or (folder / _RESULTS).is_file():
                continue
            if lock := try_lock(folder):
                return partial(self._run_final, method, folder, seed, lock)
        return None

    def _run_final(
        self, method: Method, folder: Path, seed: int, lock: FileLock, worker: AnyWorker
    ) -> None:
        words = self.plan.final_words(method.trainer, folder, chosen_file(method.folder), seed)
        try:
            _, error = self._run(worker, folder, words)
            if error and not self._interrupted.is_set():
                self._failed[folder] = error
        finally:
            lock.release()


def _mean_ap(path: Path) -> float | None:
    (result,) = load_results(path)
    return result["metrics"].get("mAP")


def _last_words(console: Path) -> str:
    """The line in which a run says why it ends, or else its last one, as of a traceback."""
    text = console.read_text(errors="replace") if console.is_file() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("train.py: error:")]
    return "".join([*lines, *said][-1:])[:_LONGEST]
