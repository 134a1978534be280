"""Print one table of the runs below some folders: mAP over all, head, medium and tail classes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from evaluation.plots import plot_frequency_ap
from evaluation.reports import TABLE_FORMATS, load_results, results_table


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", metavar="DIR", help="results.json files or folders")
    parser.add_argument("--format", choices=TABLE_FORMATS, default="plain", help="default: plain")
    parser.add_argument("--plot", metavar="PNG", help="also draw AP against training counts")
    args = parser.parse_args()
    try:
        results = load_results(args.paths)
        print(results_table(results, args.format))
        if args.plot:
            plot_frequency_ap(results, args.plot)  # needs matplotlib
            print(f"Plotted to {args.plot}")
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
