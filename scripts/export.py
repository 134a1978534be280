r"""Write a trained model as files that need no code of this project.

    python scripts/export.py --model-dir output/voc_lt/CoOp/vit_b16/seed1 --output coop.safetensors

The file holds text features, the scale and offset of the logits, a threshold for each class and
the image tower; docs/export.md shows the short program that uses it. --onnx FILE.onnx writes image
tower and head as one graph, also of methods that look at regions, and compares it with torch; it
needs the packages of requirements-optional.txt.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from common.user_errors import run_command
from prediction import load_run
from prediction.onnx_export import OPSET, write_onnx
from prediction.plain_export import write_plain
from prediction.run_flags import run_parser


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and write the files."""
    parser = run_parser(__doc__)
    flag = parser.add_argument
    flag("--output", metavar="FILE.safetensors", help="tensors for plain CLIP code")
    flag("--no-image-tower", action="store_true", help="leave the image tower out of that file")
    flag("--onnx", metavar="FILE.onnx", help="image tower and head as one graph")
    args = parser.parse_args(argv)
    if not args.output and not args.onnx:
        parser.error("nothing to write: give --output FILE.safetensors, --onnx FILE.onnx or both")
    if args.no_image_tower and not args.output:
        parser.error("--no-image-tower is about the file of --output; add that, or leave it out")
    run = load_run(args.model_dir, args.load_epoch, ["USE_CUDA", "False"])
    if args.output:
        write_plain(run, args.output, not args.no_image_tower)
        print(f"Written to {args.output}")
    if args.onnx:
        difference = write_onnx(run, args.onnx)
        print(
            f"Written to {args.onnx}, opset {OPSET}; largest difference between onnxruntime and "
            f"torch in a logit: {difference:.2g}"
        )


if __name__ == "__main__":
    run_command(main)
