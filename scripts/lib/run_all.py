"""Run train.py for many command lines in few processes, for compare.sh.

usage: python scripts/lib/run_all.py WORDS_PER_RUN <NUL-SEPARATED WORDS

The words of a run begin with --output-dir FOLDER --trainer NAME --seed N. Finished runs are left
out. A run that fails, or that takes its process with it, stops no other.

environment: JOBS     runs at a time (1); above 1 the output of each goes to FOLDER/console.txt
             DRY_RUN  print the commands, run nothing
"""

from __future__ import annotations

import os
import shlex
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(os.path.abspath(__file__)).parents[2]
sys.path.insert(0, str(ROOT))

from sweeping.workers import INTERRUPTED, Words, Worker


def main() -> int:
    """Run what stands on standard input; returns the number of runs that failed, at most 1."""
    count, words = int(sys.argv[1]), sys.stdin.read().split("\0")[:-1]
    runs = [words[first : first + count] for first in range(0, len(words), count)]
    todo = []
    for run in runs:
        if (_folder(run) / "results.json").is_file():
            print(f"== {_title(run)}: finished before (remove {_folder(run)} to run it again)")
        elif os.environ.get("DRY_RUN"):
            print(shlex.join([os.environ.get("PYTHON", "python"), "train.py", *run]))
        else:
            todo.append(run)
    jobs = min(int(os.environ.get("JOBS") or 1), len(todo))
    return int(not all(run_all(todo, jobs))) if todo else 0


def run_all(runs: Sequence[Words], jobs: int) -> list[bool]:
    """Run command lines of train.py, `jobs` at a time; tells of each whether it has succeeded."""
    os.chdir(ROOT)
    quiet = int(os.environ.get("JOBS") or 1) > 1
    interrupted = threading.Event()
    workers = [Worker(interrupted) for _ in range(jobs)]
    free = list(workers)

    def run(words: Words) -> bool:
        worker = free.pop()
        try:
            return not interrupted.is_set() and _run(worker, words, quiet)
        finally:
            free.append(worker)

    with ThreadPoolExecutor(jobs) as pool:
        try:
            return list(pool.map(run, runs))
        except KeyboardInterrupt:
            interrupted.set()
            raise SystemExit(INTERRUPTED) from None
        finally:
            for worker in workers:
                worker.stop()


def _run(worker: Worker, words: Words, quiet: bool) -> bool:
    """Run one command line, and say so; returns whether it has succeeded."""
    title, console = _title(words), _folder(words) / "console.txt"
    print(f"== {title}{f': {console}' if quiet else ''}", flush=True)
    status = worker.run(words, console if quiet else None)
    if quiet and status == 0:
        print(f"== {title}: done", flush=True)
    elif status not in (0, INTERRUPTED):
        tail = console.read_text(errors="replace").splitlines()[-3:] if quiet else []
        print("\n".join([*tail, f"== {title}: failed ({status})"]), file=sys.stderr, flush=True)
    return status == 0


def _folder(words: Words) -> Path:
    return Path(words[1])


def _title(words: Words) -> str:
    return f"{words[3]}, seed {words[5]}"


if __name__ == "__main__":
    sys.exit(main())
