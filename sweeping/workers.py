"""Processes that run command lines of train.py, one after the other.

PyTorch is imported once in each, and runs share the CLIP, the features and the tokens that they
have in common. A run that takes its process with it costs no other: the process is replaced.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

INTERRUPTED = 130  # exit status of a run that Ctrl-C has ended
STOPPED = 3  # of one that its watcher has ended

_SECONDS_TO_END = 10

Words = Sequence[str]
Watch = Callable[[int, str, float], bool]  # epochs done, split, metric: whether to go on


class Worker:
    """A process that runs one command line after the other; a dead one is replaced.

    It ends with the process that made it, however that ends.

    Args:
        interrupted: set when nothing more is to be run.
        variables: of the process's environment, beside ours; set before torch looks for GPUs.
    """

    def __init__(
        self, interrupted: threading.Event, variables: Mapping[str, str] | None = None
    ) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._interrupted = interrupted
        self._variables = dict(variables or {})
        self._process: multiprocessing.process.BaseProcess | None = None
        atexit.register(self.stop)  # or the interpreter would wait for a worker that nobody stopped

    def run(self, words: Words, console: Path | None = None, watch: Watch | None = None) -> int:
        """Run a command line in the process.

        Args:
            words: those after `train.py`.
            console: file for its output; None: where ours goes.
            watch: asked after every evaluation between epochs; False ends the run as `STOPPED`.

        Returns:
            The exit status, that of the process if it died; `INTERRUPTED` if nothing more is to be
            run.
        """
        if self._interrupted.is_set():
            return INTERRUPTED
        if self._process is None or not self._process.is_alive():
            self._connection, other = self._context.Pipe()
            # No daemon, which could have no processes of its own that decode pictures for it.
            process = self._context.Process(
                target=_serve, args=(other, self._variables), daemon=False
            )
            process.start()
            other.close()
            self._process = process
        self._connection.send((list(words), str(console or ""), watch is not None))
        try:
            while not isinstance(answer := self._connection.recv(), int):
                self._connection.send(watch(*answer))
            status = answer
        except EOFError:  # the process died
            self._process.join()
            status = self._process.exitcode
        if status == INTERRUPTED:
            self._interrupted.set()
        return status

    def stop(self) -> None:
        """Let the process end, or end it if it is busy."""
        if self._process is None:
            return
        self._connection.close()
        self._process.join(0 if self._interrupted.is_set() else _SECONDS_TO_END)
        self._process.terminate()
        self._process.join()


def run_here(words: Words, console: str = "", watch: Watch | None = None) -> int:
    """Run a command line in this process, as `python train.py` would.

    Args:
        words: those after `train.py`.
        console: file for its output; empty: where ours goes.
        watch: see `Worker.run`.

    Returns:
        The exit status.
    """
    with _output_to(console):
        return _run(words, watch)


def _serve(connection: Connection, variables: Mapping[str, str]) -> None:
    """Run command lines as they come, until there are no more."""
    os.environ.update(variables)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def watch(*look: object) -> bool:
        connection.send(look)
        return connection.recv()

    status = 0
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while status != INTERRUPTED:
            words, console, watched = connection.recv()
            status = run_here(words, console, watch if watched else None)
            connection.send(status)


def _end_with_parent() -> None:
    """A run that nobody waits for would hold its folder against whoever goes on with it."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _run(words: Words, watch: Watch | None) -> int:
    import train  # slow, and once for all runs
    from common.shared import begin_shared_run
    from common.user_errors import run_command

    def look(epochs: int, split: str, metric: float) -> None:
        if not watch(epochs, split, metric):
            sys.exit(STOPPED)

    begin_shared_run()
    sys.argv = ["train.py", *words]
    watched = {"watch": look} if watch else {}
    try:
        run_command(lambda: train.main(words, **watched))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        return INTERRUPTED
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
