r"""Choose the thresholds above which a run's scores mean "present".

    python scripts/choose_thresholds.py --model-dir output/LMPT --per-class

They are chosen on validation images, or with --split train on those that were trained on, and kept
in the run's folder as thresholds.json. scripts/predict.py uses them, and
`train.py --eval-only --model-dir` reports CF1 and OF1 at them beside those at TEST.THRESHOLD.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from tabulate import tabulate

from common.user_errors import run_command
from evaluation.fitted.fitted_files import Fitted
from evaluation.fitted.saved_thresholds import save_thresholds
from evaluation.fitted.threshold_choice import FEWEST_POSITIVES, Criterion, choose_thresholds
from evaluation.metrics.threshold_metrics import threshold_metrics
from prediction import load_run
from prediction.run_flags import fit_parser
from prediction.split_scores import SplitScores, split_scores


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, choose, write, print a table."""
    args = _parser().parse_args(arguments)
    criterion = Criterion.parse(args.criterion)
    model = load_run(args.model_dir, args.load_epoch, args.opts)
    scores = split_scores(model, args.split, saved=not args.opts)
    chosen = choose_thresholds(
        scores.log_odds, scores.targets, criterion, args.per_class, args.fewest_positives
    )
    rule = (criterion, args.per_class, args.fewest_positives)
    fitted = save_thresholds(args.model_dir, scores.origin, model.classnames, chosen, *rule)
    print(f"Scores of {len(scores.targets):,} {args.split} images from {scores.origin.source}.")
    print(tabulate(_rows(fitted), headers=_HEADERS, floatfmt=".3f"))
    print(_compared(scores, fitted, model.cfg.TEST.THRESHOLD))
    print(f"Written to {fitted.path}: {fitted.about()}.")


def _parser() -> argparse.ArgumentParser:
    parser = fit_parser(__doc__)
    flag = parser.add_argument
    flag("--per-class", action="store_true", help="one for each class, not one for all")
    flag(
        *("--for", "--criterion"),
        dest="criterion",
        default="f1",
        metavar="WHAT",
        help="f1 or, for the highest recall at a precision, precision=P; default: f1",
    )
    flag(
        "--fewest-positives",
        type=int,
        default=FEWEST_POSITIVES,
        metavar="N",
        help=f"a class with fewer gets the threshold of all; default: {FEWEST_POSITIVES}",
    )
    return parser


_HEADERS = ("class", "positives", "threshold", "logit", "precision", "recall", "F1", "chosen for")


def _rows(fitted: Fitted) -> list[list[object]]:
    keys = ("name", "positives", "probability", "log_odds", "precision", "recall", "f1", "rule")
    return [[row[key] for key in keys] for row in fitted.classes]


def _compared(scores: SplitScores, fitted: Fitted, fixed: float) -> str:
    """CF1 and OF1 on these images, at the fixed threshold and at the chosen ones."""
    level = torch.tensor(fixed, dtype=torch.float64).logit()
    at = {f"at {fixed:g}": level, "at the chosen": fitted.column("log_odds")}
    texts = []
    for name, least in at.items():
        metrics = threshold_metrics(scores.log_odds > least, scores.targets)
        texts.append(f"{name} CF1 {100 * metrics['CF1']:.2f}, OF1 {100 * metrics['OF1']:.2f}")
    return f"On these images, in percent: {'; '.join(texts)}."


if __name__ == "__main__":
    run_command(main)
