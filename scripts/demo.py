r"""A web page that shows what trained models say of a picture, beside zero-shot CLIP.

    python scripts/demo.py --model-dir output/lmpt
    python scripts/demo.py --model-dir output/lmpt output/dualcoop
    python scripts/demo.py --backbone vit_b16 --classes cat dog "traffic light"

The page is open to this computer alone unless --host or --share says otherwise. It needs gradio
(requirements-optional.txt) and no internet.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from common.user_errors import CommandParser, run_command
from prediction import TrainedModel, load_run, zero_shot
from prediction.demo import Demo, zero_shot_beside
from prediction.demo_page import DemoPage, import_gradio


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flag = parser.add_argument
    flag(
        "--model-dir", nargs="+", default=[], metavar="DIR", help="output folder of one run or two"
    )
    flag("--backbone", default="tiny", metavar="NAME", help="CLIP to show without a run; tiny")
    flag("--classes", nargs="+", default=[], metavar="NAME", help="its first class names")
    flag("--host", default="127.0.0.1", help="address to listen on; 127.0.0.1, this computer alone")
    flag("--port", type=int, help="by default the first free one from 7860")
    flag("--share", action="store_true", help="a public address by way of gradio's servers")
    return parser


def load_models(args: argparse.Namespace) -> list[TrainedModel]:
    """The models of a command line, in the order of their columns.

    Raises:
        ValueError: more than two runs, or neither a run nor class names.
        FileNotFoundError: a folder is no run's.
    """
    if len(args.model_dir) > 2:
        raise ValueError(f"--model-dir takes one run or two, got {len(args.model_dir)}.")
    if args.model_dir and args.classes:
        raise ValueError("--classes go without --model-dir; a run's can be edited on the page.")
    if not args.model_dir:
        if not args.classes:
            raise ValueError("Give --model-dir DIR, or --classes NAME ... for zero-shot CLIP.")
        return [zero_shot(args.classes, args.backbone, ["TEST.SCORE", "softmax"])]
    first, *others = map(load_run, args.model_dir)
    beside = [zero_shot_beside(first)] if first.model.trains else []
    return [first, *beside, *others]


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and serve the page until it is stopped."""
    args = build_parser().parse_args(arguments)
    import_gradio()  # its absence is told before anything is loaded
    demo = Demo(load_models(args))
    with tempfile.TemporaryDirectory() as uploads:  # removed when the page is stopped
        os.environ["GRADIO_TEMP_DIR"] = uploads
        serve(DemoPage(demo), args)


def serve(page: DemoPage, args: argparse.Namespace) -> None:
    """Serve a page until it is stopped.

    Raises:
        ValueError: the port is taken.
    """
    try:
        page.launch(server_name=args.host, server_port=args.port, share=args.share)
    except OSError as error:
        if "empty port" not in str(error):
            raise
        port = args.port or "7860 to 7959"
        raise ValueError(
            f"Port {port} of {args.host} is taken; give another with --port."
        ) from error


if __name__ == "__main__":
    run_command(main)
