"""Print the words of CLIP's vocabulary that are nearest to each context token of a trained run.

    python scripts/interpret_prompt.py output/voc_lt/CoOp/vit_b16/seed1 --top 3

Contexts may be shared or each class's own, and have several roles. See docs/interpretation.md.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from common.files import write_text
from common.user_errors import CommandParser, run_command
from prediction import load_run
from prediction.interpretation import as_csv, as_table, nearest_words

FORMATS = {"table": as_table, "csv": as_csv}


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, print or write the words."""
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flag = parser.add_argument
    flag("run", metavar="DIR", help="output folder of a run")
    flag("--load-epoch", type=int, metavar="N", help="its epoch; best or else last if not given")
    flag("--top", type=int, default=5, metavar="N", help="words for each token; 5")
    flag("--format", choices=FORMATS, default="table", help="default: table")
    flag("--output", metavar="FILE", help="write there instead of printing")
    args = parser.parse_args(argv)
    with contextlib.redirect_stdout(sys.stderr):  # notes on the run: the table alone is piped on
        run = load_run(args.run, args.load_epoch)
    text = FORMATS[args.format](nearest_words(run, args.top))
    if args.output:
        write_text(args.output, text.rstrip("\n") + "\n")
        print(f"Written to {args.output}")
    else:
        print(text.rstrip("\n"))


if __name__ == "__main__":
    run_command(main)
