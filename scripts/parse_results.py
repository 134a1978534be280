"""Print one table of the runs below some folders: mAP over all, head, medium and tail classes.

With --against, --published or --side-by-side it is another table of the same runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from common.user_errors import CommandParser
from evaluation.comparing.published import published_table
from evaluation.results.grouping import grouped_as
from evaluation.results.reports import Run, load_results, select_trainers
from evaluation.tables.plots import plot_frequency_ap
from evaluation.tables.result_tables import class_table, results_table, time_spent
from evaluation.tables.side_by_side import side_by_side_table
from evaluation.tables.table_text import TABLE_FORMATS

_TABLES = ("against", "published", "side_by_side", "per_class")  # flags, each of another table
_LEAST_RESAMPLES = 100  # fewer say nothing of 2.5% tails


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and print the table."""
    parser = build_parser()
    args = parser.parse_args(argv)
    args.metrics = args.metrics or args.columns
    for reason in _refusals(args):
        parser.error(reason)
    try:
        results = load_results(args.paths)
        if args.groups_of:
            results = grouped_as(results, load_results(args.groups_of)[0])
        if args.rows:
            results = select_trainers(results, args.rows)
        print(_table(results, args))
        if args.seconds:
            print(f"Seconds: {time_spent(results) or 'not known'}.")
        if args.plot:
            plot_frequency_ap(results, args.plot)  # needs matplotlib
            print(f"Plotted to {args.plot}")
        if args.plot_softmax:
            from evaluation.comparing.softmax_plot import plot_softmax  # imports torch

            plot_softmax(results, args.plot_softmax)
            print(f"Plotted to {args.plot_softmax}")
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flag = parser.add_argument
    flag("paths", nargs="+", metavar="DIR", help="results.json files or folders")
    flag("--format", choices=TABLE_FORMATS, default="plain", help="default: plain")
    flag("--ci95", action="store_true", help="95%% confidence intervals, not deviations")
    flag("--per-class", action="store_true", help="a row for each class, a column for each method")
    flag("--metrics", nargs="+", metavar="NAME", help="of results.json, e.g. mAP_softmax CF1 OF1")
    flag("--columns", type=_words, metavar="A,B", help="the same, as one word: mAP,mAP_tail")
    flag("--rows", type=_words, metavar="A,B", help="these trainers alone, in this order")
    flag("--groups-of", metavar="DIR", help="head, medium and tail classes as in another run")
    flag("--best", choices=("bold",), help="bold the best of each column (class), in markdown")
    flag("--side-by-side", action="store_true", help="a row for each method, columns by data set")
    flag("--published", action="store_true", help="published figures beside ours")
    flag("--against", metavar="NAME", help="differences to this method, with 95%% intervals")
    flag("--resamples", type=int, metavar="N", help="of the test images, for --against: 10,000")
    flag("--plot-differences", metavar="PNG", help="of --against: also draw them")
    flag("--seconds", action="store_true", help="also what the runs' time went into")
    flag("--plot", metavar="PNG", help="also draw AP against training counts")
    flag("--plot-softmax", metavar="PNG", help="also draw mAP on the way to a softmax")
    return parser


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _refusals(args: argparse.Namespace) -> Iterator[str]:
    """What is wrong with flags that cannot stand together."""
    tables = [f"--{n.replace('_', '-')}" for n in _TABLES if getattr(args, n)]
    if args.per_class and args.metrics:
        yield "--per-class shows average precision alone; leave out --metrics"
    if len(tables) > 1 and tables != ["--against", "--per-class"]:
        yield f"{' and '.join(tables)} are tables of their own; ask for one"
    if (args.against or args.published) and (args.metrics or args.best):
        yield f"{tables[0]} has columns of its own; leave out --metrics, --columns and --best"
    if not args.against and (args.resamples is not None or args.plot_differences):
        yield "--resamples and --plot-differences need --against NAME"
    if args.resamples is not None and args.resamples < _LEAST_RESAMPLES:
        yield f"--resamples must be {_LEAST_RESAMPLES} or more, got {args.resamples}"


def _table(results: list[Run], args: argparse.Namespace) -> str:
    """The table that was asked for."""
    spread, best = "ci95" if args.ci95 else "std", bool(args.best)
    if args.against:
        return _differences(results, args)
    if args.published:
        return published_table(results, args.format, spread)
    if args.side_by_side:
        return side_by_side_table(results, args.format, spread, args.metrics, best)
    if args.per_class:
        return class_table(results, args.format, spread, best)
    return results_table(results, args.format, spread, args.metrics, best)


def _differences(results: list[Run], args: argparse.Namespace) -> str:
    # Imported here: torch takes seconds to import, which no other table needs.
    from evaluation.comparing.comparison import compare
    from evaluation.comparing.comparison_tables import class_difference_table, difference_table
    from evaluation.comparing.difference_plot import plot_differences

    compared = compare(results, args.against, args.resamples)
    if args.plot_differences:
        plot_differences(compared, args.plot_differences, args.per_class)  # needs matplotlib
        print(f"Plotted to {args.plot_differences}", file=sys.stderr)
    table = class_difference_table if args.per_class else difference_table
    return table(compared, args.format)


if __name__ == "__main__":
    main()
