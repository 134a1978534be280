r"""Write a trained model as files that need no code of this project.

    python scripts/export.py --model-dir output/voc_lt/CoOp/vit_b16/seed1 --output coop.safetensors

The file holds the text features, the scale and offset of the logits, a threshold for each class and
the image tower; docs/export.md shows the program of a few lines that uses it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from common.user_errors import CommandParser, run_command
from prediction import load_run
from prediction.plain_export import write_plain


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and write the files."""
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flag = parser.add_argument
    flag("--model-dir", required=True, metavar="DIR", help="output folder of a run")
    flag("--load-epoch", type=int, metavar="N", help="its epoch; best or else last if not given")
    flag("--output", metavar="FILE", help="safetensors file to write")
    flag("--no-image-tower", action="store_true", help="leave the image tower out of that file")
    args = parser.parse_args(argv)
    run = load_run(args.model_dir, args.load_epoch, ["USE_CUDA", "False"])
    write_plain(run, args.output, not args.no_image_tower)
    print(f"Written to {args.output}")


if __name__ == "__main__":
    run_command(main)
