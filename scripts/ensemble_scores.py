r"""Combine the scores of two runs: (1 - weight) * first + weight * second, each scaled to [0, 1].

    python scripts/ensemble_scores.py output/taidpt output/dualcoop --weight 0.9 --output output/two

Both runs need TEST.SAVE_SCORES all. A run's scores are taken in the space of its TEST.SCORE and
scaled by their least and greatest value on its *training* images, so nothing is fitted to the test
images. The weight is to be settled beforehand: TaI-DPT's release (Guo et al., CVPR 2023) takes 0.9
for the share of a method that has seen labelled images. With --output a results.json is written,
which parse_results.py reads.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from common.files import write_text
from common.groups import GROUPS
from evaluation.metrics.average_precision import average_precision
from evaluation.results.grouping import group_means
from evaluation.results.reports import RUN_KEYS, load_results
from evaluation.results.saved_scores import SavedScores, check_same_images, load_scores

TO_SCORES = {
    "logit": lambda logits: logits,
    "sigmoid": torch.sigmoid,
    "softmax": lambda logits: logits.softmax(dim=1),
}


@dataclass(frozen=True)
class Run:
    """What a run left behind.

    Attributes:
        result: its results.json.
        scores: [N, C] of the test images, scaled by those of the training images; fp64.
        saved: its logits, targets and paths of the test images.
    """

    result: dict[str, Any]
    scores: Tensor
    saved: SavedScores


def load_run(folder: Path) -> Run:
    """Read a run's folder.

    Raises:
        FileNotFoundError: scores were not saved.
        ValueError: the result is not a long-tailed evaluation, or all training scores are equal.
    """
    (result,) = load_results(folder / "results.json")
    if result["score"] not in TO_SCORES or not result["per_class"]:
        raise ValueError(f"{folder} holds no evaluation of several labels with TEST.SCORE.")
    to_scores = TO_SCORES[result["score"]]
    saved, training = (load_scores(folder / f"{name}.npz") for name in ("scores", "scores_train"))
    low, high = to_scores(training.logits.double()).aminmax()
    if low == high:
        raise ValueError(f"{folder}: all training scores are {low:g}; they tell nothing.")
    scores = (to_scores(saved.logits.double()) - low) / (high - low)
    return Run(result, scores, saved)


def check_alike(first: Run, second: Run) -> None:
    """Refuse runs that were not tested on the same images and classes.

    Raises:
        ValueError: they were not.
    """
    names = [[row["name"] for row in run.result["per_class"]] for run in (first, second)]
    if names[0] != names[1]:
        raise ValueError("The runs know different classes, or the same in another order.")
    check_same_images(first.saved, second.saved)


def evaluate(
    scores: Tensor, targets: Tensor, per_class: list[dict[str, Any]]
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Mean average precision over all classes and each group, and every class's own.

    Args:
        scores: [N, C].
        targets: [N, C].
        per_class: C rows of a results.json, of which all but "AP" is kept.

    Returns:
        Metrics in percent, and the rows with these scores' "AP", None without positives.
    """
    precisions = (100 * average_precision(scores, targets)).tolist()
    rows = [
        {**row, "AP": None if value != value else value}
        for row, value in zip(per_class, precisions, strict=True)
    ]
    return group_means(rows), rows


def combined_result(
    first: Run, second: Run, weight: float, metrics: dict[str, float], rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """A results.json of the ensemble: what both runs share, and both values where they differ."""
    result = {}
    for key in (*RUN_KEYS, "seed", "protocol"):
        values = [run.result.get(key, "") for run in (first, second)]
        both = key == "trainer" or values[0] != values[1]
        result[key] = " + ".join(map(str, values)) if both else values[0]
    return {
        **result,
        "score": f"ensemble, weight {weight:g}",
        "metrics": metrics,
        "per_class": rows,
    }


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, combine, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flag = parser.add_argument
    flag("runs", nargs=2, type=Path, metavar="RUN", help="output folders of two runs")
    flag("--weight", type=float, default=0.5, help="share of the second run, in [0, 1]; 0.5")
    flag("--output", type=Path, metavar="DIR", help="write results.json there")
    args = parser.parse_args(arguments)
    if not 0 <= args.weight <= 1:
        parser.error(f"--weight must be in [0, 1], got {args.weight:g}")
    try:
        first, second = map(load_run, args.runs)
        check_alike(first, second)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    both = first.scores.lerp(second.scores, args.weight)
    table = []
    columns = ["mAP", *(f"mAP_{group}" for group in GROUPS)]
    named = [(args.runs[0], first.scores), (args.runs[1], second.scores), ("both", both)]
    for name, scores in named:  # "both" comes last and is what is written
        metrics, rows = evaluate(scores, first.saved.targets, first.result["per_class"])
        table.append([str(name), *map(metrics.get, columns)])
    print(tabulate(table, headers=["mAP", "all", *GROUPS], floatfmt=".2f", missingval="-"))
    if args.output:
        result = combined_result(first, second, args.weight, metrics, rows)
        text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_text(args.output / "results.json", text)
        print(f"Results written to {args.output / 'results.json'}")


if __name__ == "__main__":
    main()
