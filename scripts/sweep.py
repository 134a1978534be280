r"""Compare methods with equal budgets: as many settings tried of each, chosen on validation images.

    python scripts/sweep.py shapes_lt tiny "CoOp LMPT ZeroshotCLIP" --trials 24 --seeds "1 2 3 4 5"

Settings come from configs/sweeps/<Trainer>.yaml; the first one is the recommended recipe. The best
one by validation mAP is then trained and tested once per seed. Runs lie in
output/sweeps/DATASET/BACKBONE/<Trainer>, all trials in trials.csv beside them. The same command
goes on with an interrupted sweep; several processes and machines with the same output folder share
one, and so do the machines of a Ray cluster with ENGINE=ray. docs/comparison.md has the protocol,
docs/clusters.md has ENGINE and GPUS.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from common.user_errors import CommandParser, run_command
from sweeping.engine import Engine


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run the sweep, print the table; returns the exit status."""
    args = _parser().parse_intermixed_args(argv)
    engine = Engine.from_environment(args.jobs)
    from evaluation.results.reports import load_results
    from evaluation.tables.result_tables import results_table, time_spent
    from sweeping.plan import Plan
    from sweeping.sweep import Sweep

    started = time.time()
    plan = Plan(
        dataset=args.dataset,
        backbone=args.backbone,
        trainers=tuple(args.trainers.split()),
        trials=args.trials,
        seeds=args.seeds,
        seed=args.seed,
        score=args.score,
        sampler=args.sampler,
        pruner=args.pruner,
        root=Path(args.root),
        output=Path(args.output),
        spaces=Path(args.spaces),
        overrides=tuple(args.opts),
    )
    sweep = Sweep(plan, args.storage)
    held_out = f", {plan.val_fraction:g} of the training images" if plan.val_fraction else ""
    print(
        f"{plan.trials} trials of each of {len(plan.trainers)} methods ({plan.sampler}), chosen by "
        f"mAP of {plan.score} scores on the validation images{held_out}."
    )
    try:
        problems = sweep.run(engine)
    except KeyboardInterrupt:
        print(f"\nInterrupted. The same command goes on with the sweep in {plan.folder}.")
        return 130
    if found := sweep.results():
        results = load_results(found)
        print(f"\n{results_table(results)}\nSeconds of these: {time_spent(results)}.")
    print(f"All trials: {sweep.table}\nThis call took {(time.time() - started) / 60:.1f} minutes.")
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return int(bool(problems))


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flag = parser.add_argument
    flag("dataset", metavar="DATASET", help="a file of configs/datasets, without .yaml")
    flag("backbone", metavar="BACKBONE", help="a file of configs/backbones, without .yaml")
    flag("trainers", metavar="TRAINERS", help='methods in one word: "CoOp LMPT"')
    flag("opts", nargs="*", metavar="KEY VALUE", help="config overrides of all runs")
    flag("--trials", type=int, default=24, metavar="N", help="of each method; default: 24")
    flag(
        "--seeds",
        type=_numbers,
        default=(1, 2, 3, 4, 5),
        metavar='"1 2"',
        help='of the chosen settings on the test images; default: "1 2 3 4 5"',
    )
    flag("--seed", type=int, default=1, metavar="N", help="of settings and trials; default: 1")
    flag("--score", metavar="SPACE", help="logit or softmax; default: the data set's TEST.SCORE")
    flag("--sampler", default="random", metavar="NAME", help="random, tpe or gp; default: random")
    flag(
        "--pruner",
        default="none",
        metavar="NAME",
        help="none, median or halving: end hopeless trials early; default: none",
    )
    flag(
        "--storage",
        default="",
        metavar="PLACE",
        help="Optuna's: a file or URL; default: trials.journal in the sweep's folder",
    )
    flag("--root", default="data", metavar="DIR", help="of the data sets; default: data")
    flag("--output", default="output/sweeps", metavar="DIR", help="default: output/sweeps")
    flag(
        "--spaces",
        default=str(ROOT / "configs" / "sweeps"),
        metavar="DIR",
        help="of the search spaces; default: configs/sweeps",
    )
    flag(
        "--jobs",
        type=int,
        metavar="N",
        help="runs at a time; default: the variable JOBS, or 1",
    )
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    words = text.replace(",", " ").split()
    if not words or not all(word.isdecimal() for word in words):
        raise argparse.ArgumentTypeError(f'expected numbers such as "1 2 3", got {text!r}')
    return tuple(dict.fromkeys(map(int, words)))


if __name__ == "__main__":
    run_command(main)
