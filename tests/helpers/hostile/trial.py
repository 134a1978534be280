"""Read files in a process of their own, and see what that does beyond reading."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.helpers.hostile.readers import Reader

_PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True)
class Outcome:
    """What came of reading a file.

    Attributes:
        error: type and message of the refusal; empty if the file was read.
        problem: what must not be, such as an error that is not documented; empty if all is well.
        executions: programs and functions that were started.
        outside: files that were opened for writing, or changed, outside the file's folder.
        megabytes: memory taken beyond that of the libraries.
        peak: memory in megabytes altogether.
        seconds: time that it took.
    """

    error: str = ""
    problem: str = ""
    executions: int = 0
    outside: int = 0
    megabytes: int = 0
    peak: int = 0
    seconds: float = 0.0


def canary(folder: Path) -> Path:
    """What code in a file makes, if it is executed."""
    return folder.parent / "outside" / "executed"


def attempt(
    jobs: Sequence[tuple[Reader, Callable[[Path], object]]], base: Path, limit: float
) -> list[Outcome]:
    """Make files and read them, one after the other, in a fork.

    Args:
        jobs: for each file, the reader of its kind, and what writes it, given its path.
        base: an empty folder for them.
        limit: seconds for each file.
    """
    paths = []
    for number, (reader, make) in enumerate(jobs):
        outside, path = base / str(number) / "outside", base / str(number) / "inside" / reader.file
        outside.mkdir(parents=True)
        (outside / "mine.txt").write_text("mine")
        path.parent.mkdir(parents=True)
        make(path)
        paths.append(path)
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiver)
        _child([reader for reader, _ in jobs], paths, base, sender)
    os.close(sender)
    told = _lines(receiver, limit, child)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    outcomes = [Outcome(**json.loads(line)) for line in told]
    for _ in jobs[len(told) :]:  # the process did not come to them
        outcomes.append(Outcome(problem=f"crashed with status {status}, or took {limit:g} s"))
    return [_with_traces(one, base / str(number)) for number, one in enumerate(outcomes)]


def _lines(receiver: int, limit: float, child: int) -> list[str]:
    """What the child says of each file; it is ended if it says nothing for so long."""
    said = b""
    while select.select([receiver], [], [], limit)[0]:
        came = os.read(receiver, 1 << 16)
        if not came:
            break
        said += came
    else:
        os.kill(child, signal.SIGKILL)
    os.close(receiver)
    return said.decode().splitlines()


def _with_traces(outcome: Outcome, place: Path) -> Outcome:
    """Add what lies where it should not."""
    mine = place / "outside" / "mine.txt"
    strange = [path for path in place.iterdir() if path.name not in ("inside", "outside")]
    strange += [path for path in mine.parent.iterdir() if path != mine]
    changed = len(strange) + (mine.read_text() != "mine")
    executed = canary(place / "inside").exists()
    return replace(
        outcome,
        executions=outcome.executions + executed,
        outside=outcome.outside + changed,
    )


def read(reader: Reader, path: Path) -> tuple[str, str]:
    """The refusal, and what is wrong with it: an undocumented type, or no name of the file."""
    try:
        reader.read(path)
    except (*reader.errors, OSError) as error:
        words = str(error)
        named = not reader.named or any(
            name in words for name in (path.name, str(path.parent), "/dev/zero")
        )
        shown = f"{type(error).__name__}: {words}"[:2000]
        return shown, "" if named else "the refusal does not name the file: " + shown[:200]
    except BaseException as error:
        return repr(error)[:2000], f"undocumented {type(error).__name__}: {error}"[:300]
    return "", ""


def _child(readers: Sequence[Reader], paths: Sequence[Path], base: Path, sender: int) -> None:
    """Read the files, tell of each, and end."""
    status, seen = 1, {"executions": 0, "outside": 0}
    allowed = (str(base.resolve()), os.devnull)

    def watch(event: str, arguments: tuple) -> None:
        if event in _PROGRAMS:
            seen["executions"] += 1
        elif event == "open" and isinstance(arguments[0], (str, Path)) and _writes(arguments[2]):
            seen["outside"] += not os.path.realpath(arguments[0]).startswith(allowed)

    try:
        sys.addaudithook(watch)
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
            sys.stdout = sys.stderr = nowhere
            for reader, path in zip(readers, paths, strict=True):
                seen.update(executions=0, outside=0)
                start, before = time.monotonic(), _peak()
                error, problem = read(reader, path)
                took = {"seconds": time.monotonic() - start, "megabytes": _peak() - before}
                told = {"error": error, "problem": problem, "peak": _peak(), **took, **seen}
                os.write(sender, json.dumps(told).encode() + b"\n")
        status = 0
    finally:
        os._exit(status)


def _writes(flags: int) -> bool:
    return bool(flags & _WRITES) and not flags & os.O_NOFOLLOW


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
