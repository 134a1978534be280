r"""Write one HTML page on some runs: tables, curves, confusions, mistakes, nearest texts.

    python scripts/report.py output/shapes_lt --output output/report

The page needs nothing beside itself; its figures and tables also lie in the folder as files.
Curves, confusions and mistakes need the scores.npz that runs keep (TEST.SAVE_SCORES); the page says
how to write it for a run without. docs/report.md tells how to read it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from common.user_errors import CommandParser, run_command
from reporting.report import write_report


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and write the report."""
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flag = parser.add_argument
    flag("runs", nargs="+", metavar="OUT", help="output folders of runs, or folders of several")
    flag("--output", default="output/report", metavar="FOLDER", help="default: output/report")
    flag(
        "--mistakes",
        type=_count,
        default=4,
        metavar="N",
        help="false positives and misses shown of each class and method; 0: none; default: 4",
    )
    flag(
        "--captions",
        type=_count,
        default=2000,
        metavar="N",
        help="training captions compared with the classes; 0: none; default: 2000",
    )
    flag(
        "--words",
        type=_count,
        default=3,
        metavar="N",
        help="vocabulary's nearest words shown of each context token; 0: none; default: 3",
    )
    args = parser.parse_args(argv)
    page = write_report(args.runs, args.output, args.mistakes, args.captions, args.words)
    print(f"Report written to {page}")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number of 0 or more, got {text!r}")
    return int(text)


if __name__ == "__main__":
    run_command(main)
