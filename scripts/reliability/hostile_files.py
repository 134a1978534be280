"""Read every hostile file of the tests' corpus, each in a process of its own.

    python scripts/reliability/hostile_files.py
    python scripts/reliability/hostile_files.py --only picture

A file must be read, or refused with an error that its reader documents and that names it; nothing
may be executed, no other program started, nothing written elsewhere, no process die, and the memory
of a process stay below 1 GB. The last line gives the figures; the exit status is 1 if one is wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.helpers.hostile.corpus import CORPUS
from tests.helpers.hostile.readers import READERS
from tests.helpers.hostile.trial import attempt

MOST = 1000  # megabytes that a process may take, the libraries' included
LIMIT = 60.0  # seconds


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", metavar="KIND", choices=READERS, help="files of one kind")
    args = parser.parse_args(arguments)
    chosen = [entry for entry in CORPUS if args.only in (None, entry.kind)]
    outcomes = []
    for entry in chosen:
        with tempfile.TemporaryDirectory(prefix="hostile-") as base:
            (outcome,) = attempt([(READERS[entry.kind], entry.make)], Path(base), LIMIT)
        outcomes.append(outcome)
        said = " ".join((outcome.problem or outcome.error or "read").split())[:150]
        mark = "WRONG " if outcome.problem or outcome.executions or outcome.outside else ""
        print(
            f"{mark}{entry.kind}, {entry.name}: {said} "
            f"({outcome.megabytes} MB, {outcome.seconds:.1f} s)",
            flush=True,
        )
    crashes = sum(bool(outcome.problem) for outcome in outcomes)
    executions = sum(outcome.executions for outcome in outcomes)
    outside = sum(outcome.outside for outcome in outcomes)
    taken = max(outcome.megabytes for outcome in outcomes)
    peak = max(outcome.peak for outcome in outcomes)
    print(
        f"{len(outcomes)} files: {executions} executions, {crashes} crashes or undocumented ends, "
        f"{outside} files outside, largest peak memory {peak} MB (of which the file's {taken} MB)"
    )
    return int(bool(crashes or executions or outside or peak >= MOST))


if __name__ == "__main__":
    sys.exit(main())
