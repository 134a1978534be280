"""Print one table of the runs below some folders: mAP over all, head, medium and tail classes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from evaluation.reports import TABLE_FORMATS, load_results, results_table


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", metavar="DIR", help="results.json files or folders")
    parser.add_argument("--format", choices=TABLE_FORMATS, default="plain", help="default: plain")
    args = parser.parse_args()
    try:
        print(results_table(load_results(args.paths), args.format))
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
