"""Run train.py for many command lines in few processes, for compare.sh.

usage: python scripts/lib/run_all.py WORDS_PER_RUN <NUL-SEPARATED WORDS

The words of a run begin with --output-dir FOLDER --trainer NAME --seed N. Finished runs are left
out. A run that fails, or that takes its process with it, stops no other.

environment: JOBS     runs at a time (1); above 1 the output of each goes to FOLDER/console.txt
             DRY_RUN  print the commands, run nothing
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shlex
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

ROOT = Path(os.path.abspath(__file__)).parents[2]
sys.path.insert(0, str(ROOT))

_SECONDS_TO_END = 10
_INTERRUPTED = 130  # exit status of a run that Ctrl-C has ended

Words = Sequence[str]


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
    context = multiprocessing.get_context("spawn")
    quiet = int(os.environ.get("JOBS") or 1) > 1
    interrupted = threading.Event()
    workers = [Worker(context, quiet, interrupted) for _ in range(jobs)]
    free = list(workers)

    def run(words: Words) -> bool:
        worker = free.pop()
        try:
            return worker.run(words)
        finally:
            free.append(worker)

    with ThreadPoolExecutor(jobs) as pool:
        try:
            return list(pool.map(run, runs))
        except KeyboardInterrupt:
            interrupted.set()
            raise SystemExit(_INTERRUPTED) from None
        finally:
            for worker in workers:
                worker.stop()


class Worker:
    """A process that runs one command line after the other; a dead one is replaced.

    Args:
        context: makes the process.
        quiet: whether a run's output goes to its console.txt.
        interrupted: set when nothing more is to be run.
    """

    def __init__(
        self,
        context: multiprocessing.context.BaseContext,
        quiet: bool,
        interrupted: threading.Event,
    ) -> None:
        self._context, self._quiet, self._interrupted = context, quiet, interrupted
        self._process: multiprocessing.process.BaseProcess | None = None

    def run(self, words: Words) -> bool:
        """Run a command line in the process; returns whether it has succeeded."""
        if self._interrupted.is_set():
            return False
        title, console = _title(words), _folder(words) / "console.txt"
        print(f"== {title}{f': {console}' if self._quiet else ''}", flush=True)
        if self._process is None or not self._process.is_alive():
            self._connection, other = self._context.Pipe()
            self._process = self._context.Process(target=_serve, args=(other,), daemon=True)
            self._process.start()
            other.close()
        self._connection.send((list(words), str(console) if self._quiet else ""))
        try:
            status = self._connection.recv()
        except EOFError:  # the process died
            self._process.join()
            status = self._process.exitcode
        if status == _INTERRUPTED:
            self._interrupted.set()
            return False
        if self._quiet and status == 0:
            print(f"== {title}: done", flush=True)
        elif status != 0:
            tail = console.read_text(errors="replace").splitlines()[-3:] if self._quiet else []
            print("\n".join([*tail, f"== {title}: failed ({status})"]), file=sys.stderr, flush=True)
        return status == 0

    def stop(self) -> None:
        """Let the process end, or end it if it is busy."""
        if self._process is None:
            return
        self._connection.close()
        self._process.join(0 if self._interrupted.is_set() else _SECONDS_TO_END)
        self._process.terminate()
        self._process.join()


def _serve(connection: Connection) -> None:
    """Run command lines as they come, each as `python train.py` would, until there are no more."""
    status = 0
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while status != _INTERRUPTED:
            words, console = connection.recv()
            with _output_to(console):
                status = _run(words)
            connection.send(status)


def _run(words: Words) -> int:
    """Exit status of a command line of train.py."""
    import train  # slow, and once for all runs
    from common.user_errors import run_command

    sys.argv = ["train.py", *words]
    try:
        run_command(lambda: train.main(words))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception:
        traceback.print_exc()
        return 1


@contextlib.contextmanager
def _output_to(path: str) -> Iterator[None]:
    """Send standard output and error to a file, those of libraries too; empty leaves them."""
    if not path:
        yield
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    kept = [os.dup(1), os.dup(2)]
    with open(path, "wb") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, old in zip((1, 2), kept, strict=True):
                os.dup2(old, number)
                os.close(old)


def _folder(words: Words) -> Path:
    return Path(words[1])


def _title(words: Words) -> str:
    return f"{words[3]}, seed {words[5]}"


if __name__ == "__main__":
    sys.exit(main())
