"""Print one table of the runs below some folders: mAP over all, head, medium and tail classes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from evaluation.plots import plot_frequency_ap
from evaluation.reports import load_results
from evaluation.tables import TABLE_FORMATS, class_table, results_table, time_spent


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    flag = parser.add_argument
    flag("paths", nargs="+", metavar="DIR", help="results.json files or folders")
    flag("--format", choices=TABLE_FORMATS, default="plain", help="default: plain")
    flag("--ci95", action="store_true", help="95%% confidence intervals, not deviations")
    flag("--per-class", action="store_true", help="a row for each class, a column for each method")
    flag("--metrics", nargs="+", metavar="NAME", help="of results.json, e.g. mAP_softmax CF1 OF1")
    flag("--seconds", action="store_true", help="also what the runs' time went into")
    flag("--plot", metavar="PNG", help="also draw AP against training counts")
    args = parser.parse_args(argv)
    if args.per_class and args.metrics:
        parser.error("--per-class shows average precision alone; leave out --metrics")
    spread = "ci95" if args.ci95 else "std"
    try:
        results = load_results(args.paths)
        if args.per_class:
            print(class_table(results, args.format, spread))
        else:
            print(results_table(results, args.format, spread, args.metrics))
        if args.seconds:
            print(f"Seconds: {time_spent(results) or 'not known'}.")
        if args.plot:
            plot_frequency_ap(results, args.plot)  # needs matplotlib
            print(f"Plotted to {args.plot}")
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
