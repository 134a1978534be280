"""Start small runs at the same time where they could harm one another, and compare their ends.

    python scripts/reliability/concurrent_runs.py
    python scripts/reliability/concurrent_runs.py --tries 2 --processes 3

In one folder: runs with seeds 1 and 2 are started together. One must be refused with exit status 2
and told which process is there; the other must leave, to the last bit, what its seed leaves alone.
In folders of their own: processes are started together without data, so that each of them would
draw the pictures, and with an empty cache, which they share. All must end, and leave, to the last
bit, what a process alone does: results, scores, checkpoints, data and cache. The last line has the
figures; the exit status is 1 if a try or a process failed.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from safetensors.torch import load_file

from loading.cache.feature_files import PICTURES
from scripts.reliability.kill_cases import Case
from scripts.reliability.kill_trials import differences
from scripts.reliability.small_runs import (
    contents,
    digest_of,
    lay_out,
    prepare,
    start,
    wait_for,
    words_of,
)

_SEEDS = (1, 2)
_REFUSED = 2  # exit status
_KEY = re.compile(r"-[0-9a-f]{16}")  # in the name of a folder of features
_IN_ONE_FOLDER = Case("LMPT", "LMPT")
_TOGETHER = Case(
    "LMPT, pictures drawn",
    "LMPT",
    ("DATALOADER.CACHE", "auto", "TEST.SAVE_SCORES", "True"),
    draws=True,
)


class Run(NamedTuple):
    """A run that has ended."""

    seed: int
    process: int
    status: int
    printed: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    args = _parse(arguments)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="concurrent-") as name:
        base = Path(name).resolve()
        prepare(base)
        refused = _in_one_folder(base / "one", base, args.tries)
        equal = _in_own_folders(base / "own", base, args.processes)
    print(f"{(time.perf_counter() - started) / 60:.1f} minutes")
    print(
        f"{args.tries} tries of two seeds in one folder, {refused} with one refused and one exact; "
        f"{args.processes} processes on an empty cache, {equal} equal to one alone"
    )
    return int(refused < args.tries or equal < args.processes)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flag = parser.add_argument
    flag("--tries", type=int, default=10, metavar="N", help="of two seeds in one folder; 10")
    flag("--processes", type=int, default=10, metavar="N", help="on an empty cache; 10")
    args = parser.parse_args(arguments)
    if min(args.tries, args.processes) < 1:
        parser.error("--tries and --processes are 1 or more")
    return args


def _in_one_folder(place: Path, base: Path, tries: int) -> int:
    """How many tries ended as they should."""
    alone = {}
    for seed in _SEEDS:
        folder = place / f"alone-{seed}"
        lay_out(base, folder, _IN_ONE_FOLDER)
        _must_end(_together(base, [folder], [seed], _IN_ONE_FOLDER)[0])
        alone[seed] = contents(folder)
    good = 0
    for number in range(tries):
        folder = place / f"try-{number}"
        lay_out(base, folder, _IN_ONE_FOLDER)
        seeds = _SEEDS[:: 1 if number % 2 else -1]
        runs = _together(base, [folder, folder], seeds, _IN_ONE_FOLDER)
        problem = problem_of(runs, alone, contents(folder))
        good += not problem
        if problem:
            print(f"FAILED: try {number + 1}, seeds {seeds}: {problem}", flush=True)
    return good


def problem_of(
    runs: Sequence[Run], alone: Mapping[int, Mapping[str, str]], found: Mapping[str, str]
) -> str:
    """What is wrong about the ends of two runs in one folder; "" if nothing is."""
    first, second = sorted(runs, key=lambda run: run.status)
    if (first.status, second.status) != (0, _REFUSED):
        return f"exit statuses {first.status} and {second.status}\n{first.printed}{second.printed}"
    if f"is in use by process {first.process} on " not in second.printed:
        return f"the second was not told of process {first.process}:\n{second.printed}"
    return differences(alone[first.seed], found)


def _in_own_folders(place: Path, base: Path, processes: int) -> int:
    """How many processes left what one alone leaves; none if the data or the cache differ."""
    expected, (alone,) = _on_empty_data(place, base, 1)
    place.rename(place.with_name("alone"))  # the paths in results and config are to be the same
    shared, ends = _on_empty_data(place, base, processes)
    problem = differences(expected, shared)
    if problem:
        print(f"FAILED: data and cache of {processes} processes: {problem}", flush=True)
        return 0
    good = 0
    for number, end in enumerate(ends):
        problem = differences(alone, end)
        good += not problem
        if problem:
            print(f"FAILED: process {number + 1}: {problem}", flush=True)
    return good


def _on_empty_data(
    place: Path, base: Path, processes: int
) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Run processes together; returns what they share in the end, and what each has left."""
    shared = place / "shared"
    folders = [place / f"{number}" for number in range(processes)]
    for folder in folders:
        lay_out(base, folder, _TOGETHER)
        for name in ("data", "cache"):
            (shared / name).mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(shared / name)
    for run in _together(base, folders, [1] * processes, _TOGETHER, "--root", str(shared / "data")):
        _must_end(run)
    ends = [contents(folder) for folder in folders]
    return {**contents(shared / "data"), **_cached(shared / "cache")}, ends


def _cached(folder: Path) -> dict[str, str]:
    """Digests of cached features by folder, without what the pictures' times are a part of."""
    found: dict[str, str] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        tensors = load_file(path) if path.suffix == ".safetensors" else {}
        tensors.pop(PICTURES, None)
        name = _KEY.sub("", path.parent.name)
        again = sum(other.startswith(name) for other in found)
        found[f"{name} {again}"] = digest_of(tensors)
    return found


def _together(
    base: Path, folders: Sequence[Path], seeds: Sequence[int], case: Case, *more: str
) -> tuple[Run, ...]:
    """Start a run in each folder, let all go on at one moment, and wait for their ends."""
    wait, go = os.pipe()

    def before() -> None:
        os.close(go)
        os.read(wait, 1)  # ends when the last one who could write is gone

    started = []
    for number, (folder, seed) in enumerate(zip(folders, seeds, strict=True)):
        words = [*words_of(case, base), "--seed", str(seed), *more]
        console = folder.with_name(f"{folder.name}-{number}.txt")
        started.append((seed, start(folder, words, console, before), console))
    os.close(go)
    runs = [(seed, process, wait_for(process), console) for seed, process, console in started]
    os.close(wait)
    return tuple(
        Run(seed, process, status, console.read_text(encoding="utf-8", errors="replace"))
        for seed, process, status, console in runs
    )


def _must_end(run: Run) -> None:
    if run.status:
        raise RuntimeError(f"A run ended with {run.status}:\n{run.printed}")


if __name__ == "__main__":
    sys.exit(main())
