"""One kill: an undisturbed run to compare with, a run that is killed, and its second start."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from scripts.reliability.file_operations import MOMENTS, FileOperations, Operation, Victim
from scripts.reliability.kill_cases import CASES
from scripts.reliability.small_runs import console_of, contents, lay_out, prepare, run, words_of

_NOT_READ_AGAIN = ("log.txt", "tfevents")  # appended to, a hundred times a run
_SHOWN = 6  # differences, and last lines of what a run printed


class Kill(NamedTuple):
    """One kill of a run: `number` counts all operations of the undisturbed run, from 1."""

    case: str
    number: int
    victim: Victim


class Trials:
    """The cases that are tried, their undisturbed ends known.

    Args:
        base: an empty folder for all runs.
        names: of `CASES`.

    Attributes:
        operations: case name to what its undisturbed run does to files, in order.
    """

    def __init__(self, base: Path, names: list[str]) -> None:
        self.base = base
        self.operations: dict[str, list[Operation]] = {}
        self._ends: dict[str, dict[str, str]] = {}
        prepare(base)
        for name in names:
            self._run_undisturbed(name)

    def _run_undisturbed(self, name: str) -> None:
        case, folder = CASES[name], self.base / name
        if case.warm:
            first = self.base / f"{name}-first"
            lay_out(self.base, first, replace(case, warm=False))
            self._must_end(first, run(first, words_of(case, self.base)))
            shutil.copytree(first / "cache", self.base / "warm" / case.trainer)
        lay_out(self.base, folder, case)
        listed = self.base / f"{name}.operations"
        self._must_end(
            folder, run(folder, words_of(case, self.base), lambda: _list_into(listed, folder))
        )
        rows = json.loads(listed.read_text(encoding="utf-8"))
        self.operations[name] = [Operation(*row) for row in rows]
        self._ends[name] = contents(folder)

    def _must_end(self, folder: Path, status: int) -> None:
        if status:
            raise RuntimeError(f"The undisturbed run ended with {status}:\n{_last_lines(folder)}")

    def kills(self, name: str, number: int | None = None) -> list[Kill]:
        """Every moment at which a killed run of the case leaves something else on the disk.

        That is before and half-way through each operation (after it is before the next one). Lines
        of the log and TensorBoard's events are read by no run: each stretch of them counts as one
        operation.

        Args:
            name: of the case.
            number: only before, in and after this operation, counted from 1.

        Raises:
            IndexError: there is no operation of that number.
        """
        operations = self.operations[name]
        if number is not None:
            return [Kill(name, number, v) for v in _moments(operations[number - 1], MOMENTS)]
        kills = []
        numbered = enumerate(operations, start=1)
        for appends, group in itertools.groupby(numbered, lambda pair: _appends(pair[1])):
            stretch = list(group)
            if appends:
                halves = [(n, operation) for n, operation in stretch if operation.divisible]
                middle = halves[len(halves) // 2 :][:1]
                kills += [Kill(name, n, Victim(operation, "inside")) for n, operation in middle]
                continue
            for n, operation in stretch:
                kills += [Kill(name, n, v) for v in _moments(operation, MOMENTS[:2])]
            last, operation = stretch[-1]
            kills.append(Kill(name, last, Victim(operation, "after")))
        return kills

    def attempt(self, kill: Kill) -> tuple[Kill, str]:
        """Kill a run, start it again and compare.

        Returns:
            The kill, and what went wrong; nothing if nothing did.
        """
        case = CASES[kill.case]
        folder = self.base / f"{kill.case}-{os.getpid()}"
        lay_out(self.base, folder, case)
        try:
            status = run(
                folder, words_of(case, self.base), lambda: FileOperations(folder, kill.victim)
            )
            if status != -signal.SIGKILL:
                return kill, f"ended with {status} before it came there\n{_last_lines(folder)}"
            status = run(folder, words_of(case, self.base))
            if status:
                return kill, f"the second start ended with {status}\n{_last_lines(folder)}"
            return kill, differences(self._ends[kill.case], contents(folder))
        finally:
            shutil.rmtree(folder)


def _moments(operation: Operation, moments: Sequence[str]) -> list[Victim]:
    return [Victim(operation, m) for m in moments if operation.divisible or m != "inside"]


def _appends(operation: Operation) -> bool:
    return any(word in operation.description for word in _NOT_READ_AGAIN)


def _list_into(listed: Path, folder: Path) -> None:
    """Leave the operations of this process in a file when it ends."""
    operations, leave = FileOperations(folder), os._exit

    def exit_listing(status: int) -> None:
        listed.write_text(json.dumps(operations.done), encoding="utf-8")
        leave(status)

    os._exit = exit_listing


def differences(expected: Mapping[str, str], found: Mapping[str, str]) -> str:
    """What is not as expected, in a few lines; nothing if all is."""
    lines = [f"  missing: {name}" for name in expected if name not in found]
    lines += [f"  left over: {name}" for name in found if name not in expected]
    both = [name for name in expected if name in found]
    lines += [f"  differs: {name}" for name in both if expected[name] != found[name]]
    more = [f"  and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    title = ["not what an undisturbed run leaves:"] if lines else []
    return "\n".join([*title, *lines[:_SHOWN], *more])


def _last_lines(folder: Path) -> str:
    lines = console_of(folder).read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-_SHOWN:])
