r"""Make a run's scores into probabilities: fit a temperature and an offset to them.

    python scripts/calibrate.py --model-dir output/LMPT --per-class --plot reliability.png

They are fitted to validation images, or with --split train to those that were trained on, and kept
in the run's folder as calibration.json, which scripts/predict.py uses.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch.nn.functional as F
from tabulate import tabulate
from torch import Tensor

from common.user_errors import run_command
from evaluation.fitted.calibration import (
    BINS,
    FEWEST,
    ScoreCalibration,
    calibration_error,
    class_calibration_error,
    fit_calibration,
    reliability,
)
from evaluation.fitted.fitted_files import Fitted
from evaluation.fitted.reliability_plot import plot_reliability
from evaluation.fitted.saved_calibration import calibrated, save_calibration
from prediction import load_run
from prediction.run_flags import fit_parser
from prediction.split_scores import SplitScores, split_scores


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, fit, write, print tables."""
    args = _parser().parse_args(arguments)
    model = load_run(args.model_dir, args.load_epoch, args.opts)
    scores = split_scores(model, args.split, saved=not args.opts)
    others = [split_scores(model, "test", saved=not args.opts)] if args.test else []
    found = fit_calibration(scores.log_odds, scores.targets, args.per_class, args.fewest)
    rule = {"per_class": args.per_class, "fewest": args.fewest}
    fitted = save_calibration(args.model_dir, scores.origin, model.classnames, found, rule)
    print(f"Scores of {len(scores.targets):,} {args.split} images from {scores.origin.source}.")
    print(_classes(model.classnames, found))
    print()
    print(_errors([scores, *others], fitted))
    print(f"Written to {fitted.path}: {fitted.about()}.")
    if args.plot:
        _plot([scores, *others][-1], fitted, model.name, args.plot)
        print(f"Plotted to {args.plot}")


def _parser() -> argparse.ArgumentParser:
    parser = fit_parser(__doc__)
    flag = parser.add_argument
    flag("--per-class", action="store_true", help="fit each class by itself, not all together")
    flag(
        "--fewest",
        type=int,
        default=FEWEST,
        metavar="N",
        help=f"positives, and negatives, of a class fitted by itself; default: {FEWEST}",
    )
    flag("--test", action="store_true", help="also tell the errors on the test images")
    flag("--plot", metavar="PNG", help="a reliability diagram, with --test of the test images")
    return parser


def _classes(names: Sequence[str], found: Sequence[ScoreCalibration]) -> str:
    rows = [
        [name, c.positives, c.temperature, c.offset, c.rule]
        for name, c in zip(names, found, strict=True)
    ]
    headers = ["class", "positives", "temperature", "offset", "fitted by"]
    return tabulate(rows, headers=headers, floatfmt=".3f")


def _errors(splits: Sequence[SplitScores], fitted: Fitted) -> str:
    """Calibration errors in percent, and the negative log-likelihood, before and after."""
    rows = []
    for scores in splits:
        stages = {"before": scores.log_odds, "after": calibrated(scores.log_odds, fitted)}
        for stage, odds in stages.items():
            rows.append([f"{scores.origin.split}, {stage}", *_figures(odds, scores.targets)])
    headers = [f"{BINS} bins of equal width", "ECE (%)", "class mean (%)", "NLL"]
    return tabulate(rows, headers=headers, floatfmt=(".2f", ".2f", ".2f", ".4f"))


def _figures(odds: Tensor, targets: Tensor) -> tuple[float, float, float]:
    probabilities, known = odds.sigmoid(), targets != -1
    loss = F.binary_cross_entropy_with_logits(odds[known], (targets[known] == 1).double())
    errors = (calibration_error, class_calibration_error)
    return (*(100 * error(probabilities, targets) for error in errors), float(loss))


def _plot(scores: SplitScores, fitted: Fitted, name: str, path: str) -> None:
    stages = {"before": scores.log_odds, "after": calibrated(scores.log_odds, fitted)}
    series = {}
    for stage, odds in stages.items():
        error = 100 * calibration_error(odds.sigmoid(), scores.targets)
        series[f"{stage}, ECE {error:.1f}%"] = reliability(odds.sigmoid(), scores.targets)
    plot_reliability(series, f"{name}, {scores.origin.split} images", path)


if __name__ == "__main__":
    run_command(main)
