"""Read damaged and random files of every kind; each must be read, or refused as documented.

    python scripts/reliability/fuzz.py --inputs 20000 --seed 0
    python scripts/reliability/fuzz.py --inputs 500 --only checkpoint

Honest files are cut, and their bits, bytes, words and numbers changed; inside archives that are
whole, too, where checksums would otherwise hide the reader behind them. The last line says how many
inputs there were and what came of them; the exit status is 1 if an error is not documented, a
process dies, or a file takes more than 5 seconds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.helpers.hostile.mutations import KINDS, damaged
from tests.helpers.hostile.readers import READERS
from tests.helpers.hostile.trial import attempt

LIMIT = 5.0  # seconds for a file
_BATCH = 100  # files that are read by one process


class Found(NamedTuple):
    """What came of one input."""

    kind: str
    number: int
    read: bool
    problem: str
    seconds: float
    megabytes: int


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=20_000, help="how many (default 20000)")
    parser.add_argument("--seed", type=int, default=0, help="of the damage (default 0)")
    parser.add_argument("--only", metavar="KIND", choices=KINDS, help="files of one kind")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at once")
    parser.add_argument("--keep", type=Path, help="folder for the inputs that fail")
    args = parser.parse_args(arguments)
    kinds = [args.only] if args.only else KINDS
    batches = [
        (kinds[n % len(kinds)], args.seed, first, min(first + _BATCH, args.inputs))
        for n, first in enumerate(range(0, args.inputs, _BATCH))
    ]
    found: list[Found] = []
    with multiprocessing.get_context("fork").Pool(args.jobs) as pool:
        for part in pool.imap_unordered(read_batch, batches):
            found += part
            for one in (one for one in part if one.problem):
                print(f"FAILED: {one.kind} {one.number}: {ascii(one.problem)}", flush=True)
                if args.keep:
                    args.keep.mkdir(parents=True, exist_ok=True)
                    name = f"{one.kind.replace(' ', '_')}-{one.number}"
                    content = damaged(one.kind, random.Random(f"{args.seed} {one.number}"))
                    (args.keep / name).write_bytes(content)
    return report(found)


def read_batch(batch: tuple[str, int, int, int]) -> list[Found]:
    """Read the damaged files of one kind whose numbers are from `first` to before `end`."""
    kind, seed, first, end = batch
    jobs = []
    for number in range(first, end):
        content = damaged(kind, random.Random(f"{seed} {number}"))
        jobs.append((READERS[kind], lambda path, content=content: path.write_bytes(content)))
    with tempfile.TemporaryDirectory(prefix="fuzz-") as base:
        outcomes = attempt(jobs, Path(base), 2 * LIMIT)
    found = []
    for number, one in enumerate(outcomes, start=first):
        problem = one.problem or ("something was executed" if one.executions else "")
        problem = problem or ("a file elsewhere was written" if one.outside else "")
        problem = problem or (f"took {one.seconds:.1f} s" if one.seconds > LIMIT else "")
        found.append(Found(kind, number, not one.error, problem, one.seconds, one.megabytes))
        if "crashed" in one.problem:  # the rest of the batch was not read; start it again after
            return found + (read_batch((kind, seed, number + 1, end)) if number + 1 < end else [])
    return found


def report(found: list[Found]) -> int:
    """Print a line for each kind, then the figures; returns the exit status."""
    count, read = Counter(one.kind for one in found), Counter(one.kind for one in found if one.read)
    for kind in sorted(count):
        print(f"{kind}: {count[kind]:,} inputs, {read[kind]:,} read, the others refused")
    failures = sum(bool(one.problem) for one in found)
    print(
        f"{len(found):,} inputs: {failures} undocumented ends, longest "
        f"{max(one.seconds for one in found):.2f} s, most memory of a batch of {_BATCH} "
        f"{max(one.megabytes for one in found)} MB"
    )
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
