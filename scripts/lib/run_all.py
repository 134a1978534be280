"""Run train.py for many command lines: in few processes of this machine, or on a cluster.

usage: python scripts/lib/run_all.py WORDS_PER_RUN <NUL-SEPARATED WORDS
       python scripts/lib/run_all.py <COMMANDS AS DRY_RUN PRINTS THEM

The words of a run begin with --output-dir FOLDER --trainer NAME --seed N. Finished runs are left
out. A run that fails, or that takes its process with it, stops no other.

environment: JOBS     runs at a time (1); above 1 the output of each goes to FOLDER/console.txt
             GPUS     this machine's GPUs, "0 1 2 3": as many runs at a time, each on one of them
             ENGINE   ray: on a Ray cluster, see sweeping/engine.py
             DRY_RUN  print the commands, run nothing
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

ROOT = Path(os.path.abspath(__file__)).parents[2]
sys.path.insert(0, str(ROOT))

from common.user_errors import run_command
from sweeping.engine import AnyWorker, Engine
from sweeping.workers import INTERRUPTED, Words

if TYPE_CHECKING:
    from tqdm import tqdm

FAILED = 1  # exit status if a run has failed; 2 as everywhere: what was asked for is refused

_TRAIN = " train.py "
_POLL = 1.0  # seconds


def main() -> int:
    """Run what stands on standard input; returns the exit status."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    given = sys.stdin.read()
    if len(sys.argv) > 1:
        count, words = int(sys.argv[1]), given.split("\0")[:-1]
        runs = [words[first : first + count] for first in range(0, len(words), count)]
    else:
        runs = [shlex.split(line)[2:] for line in given.splitlines() if _TRAIN in line]
    return 0 if carry_out(runs) else FAILED


def carry_out(runs: Sequence[Words], engine: Engine | None = None) -> bool:
    """Run the command lines of train.py that have not finished; with DRY_RUN, print them.

    Args:
        runs: the words after `train.py` of each.
        engine: what runs them; None: as the environment says.

    Returns:
        Whether none has failed.

    Raises:
        ValueError: the environment asks for what there is not; see `Engine`.
    """
    todo = []
    for run in runs:
        if (_folder(run) / "results.json").is_file():
            print(f"== {_title(run)}: finished before (remove {_folder(run)} to run it again)")
        elif os.environ.get("DRY_RUN"):
            print(shlex.join([os.environ.get("PYTHON", "python"), "train.py", *run]))
        else:
            todo.append(run)
    return all(_run_all(todo, engine or Engine.from_environment())) if todo else True


def _run_all(runs: Sequence[Words], engine: Engine) -> list[bool]:
    """Run command lines; tells of each whether it has succeeded."""
    from tqdm import tqdm  # which dry runs can do without

    os.chdir(ROOT)
    interrupted = threading.Event()
    with (
        engine.workers(interrupted, len(runs)) as workers,
        tqdm(total=len(runs), unit="run", disable=not engine.quiet) as bar,
        ThreadPoolExecutor(len(workers)) as pool,
    ):
        free = list(workers)

        def run(words: Words) -> bool:
            worker = free.pop()
            try:
                done = not interrupted.is_set() and _run(worker, words, engine, bar)
                bar.update(not interrupted.is_set())
                return done
            finally:
                free.append(worker)

        try:
            return list(pool.map(run, runs))
        except KeyboardInterrupt:
            interrupted.set()
            for worker in workers:
                worker.stop()
            raise SystemExit(INTERRUPTED) from None


def _run(worker: AnyWorker, words: Words, engine: Engine, bar: tqdm) -> bool:
    """Run one command line, and say so; returns whether it has succeeded."""
    title, console = _title(words), _folder(words) / "console.txt"
    if engine.name == "local":  # elsewhere runs wait for a place
        _say(f"== {title}{f': {console}' if engine.quiet else ''}", bar)
    status = worker.run(words, console if engine.quiet else None)
    if engine.quiet and status == 0:
        _say(f"== {title}: done", bar)
    elif status not in (0, INTERRUPTED):
        tail = _tail(console) if engine.quiet else []
        _say("\n".join([*tail, f"== {title}: failed ({status})"]), bar, sys.stderr)
    return status == 0


def _say(text: str, bar: tqdm, file: TextIO | None = None) -> None:
    """Print above the bar."""
    with bar.external_write_mode(file or sys.stdout):
        print(text, file=file, flush=True)


def _tail(console: Path) -> list[str]:
    return console.read_text(errors="replace").splitlines()[-3:] if console.is_file() else []


def _folder(words: Words) -> Path:
    return Path(words[1])


def _title(words: Words) -> str:
    return f"{words[3]}, seed {words[5]}"


def _end_with_parent() -> None:
    """A shell that is killed tells nobody; the script that called us may have been."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(_POLL)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    run_command(main)
