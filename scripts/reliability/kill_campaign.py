"""Kill small runs at every file operation, start them again, and compare their ends.

    python scripts/reliability/kill_campaign.py                      every kill there is
    python scripts/reliability/kill_campaign.py --stock-dassl ~/Dassl.pytorch
    python scripts/reliability/kill_campaign.py --sample 20 --seed 3
    python scripts/reliability/kill_campaign.py --case builtin/drawn --list
    python scripts/reliability/kill_campaign.py --case builtin/drawn --operation 12

A run is killed by SIGKILL before, half-way through or after one of its file operations; then the
same command is given once more. It must end well, and all that lies in its folder, its cache and
its data must equal, to the last bit, what an undisturbed run leaves: weights, optimiser, random
states, figures, names of files. Seconds, logs and TensorBoard's events are not compared. The last
line says how many kills there were and how many ended so; the exit status is 1 if one did not.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tabulate import tabulate
from tqdm import tqdm

from scripts.reliability.kill_cases import CASES

CORES = ("builtin", "stock")
_NAMES = [f"{core}/{name}" for core in CORES for name in CASES]
_FORK = multiprocessing.get_context("fork")


class Outcome(NamedTuple):
    """What became of one kill."""

    case: str
    operation: int
    what: str
    problem: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    args = _parse(arguments)
    started = time.perf_counter()
    outcomes: list[Outcome] = []
    for core in CORES:
        names = [case.partition("/")[2] for case in args.case if case.startswith(f"{core}/")]
        for outcome in _of_core(core, names, args) if names else ():
            outcomes.append(outcome)
            if outcome.problem:
                print(_failure(outcome, args.stock_dassl), flush=True)
    if args.list:
        return 0
    kills = Counter(outcome.case for outcome in outcomes)
    failed = Counter(outcome.case for outcome in outcomes if outcome.problem)
    rows = [(case, _title(case), n, n - failed[case], failed[case]) for case, n in kills.items()]
    print(tabulate(rows, ("case", "run", "kills", "exact", "failures")))
    seed = "" if args.sample is None else f", seed {args.seed}"
    print(f"{(time.perf_counter() - started) / 60:.1f} minutes, {args.jobs} at a time{seed}")
    total, bad = len(outcomes), failed.total()
    print(f"{total} kills, {total - bad} exact resumptions, {bad} failures")
    return int(bad > 0 or total == 0)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flag = parser.add_argument
    flag("--case", action="append", metavar="CORE/NAME", choices=_NAMES, help="all by default")
    flag("--stock-dassl", type=Path, metavar="PATH", help="its checkout; default: the installed")
    flag("--sample", type=int, metavar="N", help="so many kills, drawn from all")
    flag("--seed", type=int, help="of the sample; drawn and printed if not given")
    flag("--operation", type=int, metavar="N", help="only the kills at this one; needs --case")
    flag("--list", action="store_true", help="print the operations of the cases, kill nothing")
    flag("--jobs", type=int, default=len(os.sched_getaffinity(0)), metavar="N", help="at a time")
    args = parser.parse_args(arguments)
    if args.operation is not None and len(args.case or ()) != 1:
        parser.error("--operation is a number in the list of one --case")
    if args.stock_dassl and not (args.stock_dassl / "dassl" / "__init__.py").is_file():
        parser.error(f"--stock-dassl {args.stock_dassl} holds no dassl/__init__.py")
    stock = bool(args.stock_dassl or find_spec("dassl"))
    if not stock and any(case.startswith("stock/") for case in args.case or ()):
        parser.error("Dassl is not installed: --stock-dassl names its checkout")
    if not args.case:
        args.case = _NAMES if stock else _NAMES[: len(CASES)]
        for case in _NAMES[len(args.case) :]:
            print(f"{case} is skipped: Dassl is not installed; --stock-dassl names its checkout")
    if args.seed is None:
        args.seed = random.SystemRandom().randrange(10**6)
    return args


def _of_core(core: str, names: list[str], args: argparse.Namespace) -> Iterator[Outcome]:
    """The outcomes on one of the two Dassls, from a process that imports torch and the project."""
    here, there = _FORK.Pipe(duplex=False)
    process = _FORK.Process(target=_serve, args=(core, names, args, there))
    process.start()
    there.close()
    while True:
        try:
            yield here.recv()
        except EOFError:
            break
    process.join()
    if process.exitcode:
        raise SystemExit(f"The process of {core} ended with {process.exitcode}; see above.")


def _serve(core: str, names: list[str], args: argparse.Namespace, pipe: Connection) -> None:
    os.environ["LMPT_DASSL"] = core
    if core == "stock" and args.stock_dassl:
        sys.path.insert(0, str(args.stock_dassl.resolve()))
    from scripts.reliability.kill_trials import Kill, Trials  # on that Dassl

    share = _share(core, names, args)
    with tempfile.TemporaryDirectory(prefix="kills-") as base:
        trials = Trials(Path(base), [name for name in names if share[name] != 0])
        kills: list[Kill] = []
        for name, operations in trials.operations.items():
            if args.list:
                print(f"{core}/{name}: {_title(f'{core}/{name}')}")
                print("\n".join(f"{n:5} {line}" for n, line in enumerate(operations, start=1)))
                continue
            found = trials.kills(name, args.operation)
            few = random.Random(f"{args.seed} {core} {name}")
            kills += found if share[name] is None else few.sample(found, share[name])
        with _FORK.Pool(args.jobs) as pool:
            attempts = pool.imap_unordered(trials.attempt, kills)
            for kill, problem in tqdm(attempts, core, len(kills), mininterval=2):
                case = f"{core}/{kill.case}"
                pipe.send(Outcome(case, kill.number, str(kill.victim), problem))


def _share(core: str, names: list[str], args: argparse.Namespace) -> dict[str, int | None]:
    """How many kills of a sample each case gets; None for all of them."""
    if args.sample is None:
        return dict.fromkeys(names)
    drawn = Counter(random.Random(args.seed).choices(args.case, k=args.sample))
    return {name: drawn[f"{core}/{name}"] for name in names}


def _title(case: str) -> str:
    core, _, name = case.partition("/")
    return f"{CASES[name].title}, {core} Dassl"


def _failure(outcome: Outcome, stock: Path | None) -> str:
    path = f" --stock-dassl {stock}" if stock else ""
    return (
        f"FAILED: {outcome.case} killed {outcome.what}: {outcome.problem}\nRepeat it: python "
        f"{sys.argv[0]} --case {outcome.case} --operation {outcome.operation}{path}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
