r"""Choose the output link of TEST.SCORE softmax_link on a run's validation images.

    python scripts/choose_link.py --model-dir output/LMPT

It prints mAP of these images by logits, by a softmax over the classes, and by a softmax of
the best link: sigmoid((logit - centre) / width), or the logits themselves. The last line has the
words that evaluate with it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from common.user_errors import run_command
from evaluation.metrics.average_precision import average_precision
from evaluation.metrics.output_link import LINKED, choose_link, link_keys
from evaluation.results.saved_scores import rank_scores
from prediction import load_run
from prediction.run_flags import fit_parser
from prediction.split_scores import split_logits


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, choose, print."""
    args = fit_parser(__doc__).parse_args(arguments)
    model = load_run(args.model_dir, args.load_epoch, args.opts)
    scores, source = split_logits(model, args.split, saved=not args.opts)
    link = choose_link(scores.logits, scores.targets)
    print(f"Scores of {len(scores.targets):,} {args.split} images from {source}.")
    for space in ("logit", "softmax", LINKED):
        ranked = rank_scores(scores.logits, space, link)
        print(f"mAP {space}: {100 * average_precision(ranked, scores.targets).nanmean():.2f}%")
    keys = {"TEST.SCORE": LINKED, **link_keys(link)}
    print(*(f"{key} {value}" for key, value in keys.items()))


if __name__ == "__main__":
    run_command(main)
