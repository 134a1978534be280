"""Methods compared with one of them, run by run: the same seeds, the same test images.

Runs are paired by their seed. A run that was not trained, as zero-shot CLIP's, is the same for
every seed and pairs with each. Seeds share the test images, or each has its own (DATASET.DRAW
seed). The logits' and the softmax's score space are compared, and that of an output link
(`evaluation.metrics.output_link`) where both methods have one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from common.choices import hint
from common.groups import GROUPS
from evaluation.comparing.difference_intervals import Uncertainty, uncertainty
from evaluation.comparing.paired_bootstrap import RESAMPLES
from evaluation.comparing.run_precisions import Precisions, RunPrecisions, ScoredRun
from evaluation.results.reports import Method, Run, runs_by_method
from evaluation.tables.result_tables import method_labels

__all__ = ["Comparison", "compare"]

Pair = tuple[Run, Run]  # of a method and of the one that it is compared with


@dataclass(frozen=True)
class Comparison:
    """A method minus another, in points of average precision.

    Attributes:
        method: its label.
        against: label of the other.
        dataset: name.
        split: that was tested.
        score: the space that TEST.SCORE chose in the method's runs; logit for a sigmoid.
        seeds: of the pairs of runs.
        images: N test images.
        own_images: whether each seed has N of its own.
        resamples: of them.
        rows: C classes as of results.json.
        groups: by space, then "all", "head", "medium" and "tail" as far as there are any.
        classes: by space, C entries; None for a class without positives.
    """

    method: str
    against: str
    dataset: str
    split: str
    score: str
    seeds: tuple[int, ...]
    images: int
    own_images: bool
    resamples: int
    rows: Sequence[Mapping[str, Any]]
    groups: Mapping[str, Mapping[str, Uncertainty | None]]
    classes: Mapping[str, Sequence[Uncertainty | None]]


def compare(results: Sequence[Run], against: str, resamples: int | None = None) -> list[Comparison]:
    """Compare every method with one, on each data set that both were run on.

    Args:
        results: from `evaluation.results.reports.load_results`; scores.npz lies beside each.
        against: trainer of the one, or its label in a table.
        resamples: of the test images; None: `RESAMPLES`.

    Raises:
        FileNotFoundError: a run's scores were not saved.
        ValueError: there is no such method, or no other; no seeds in common, or other test images;
            or some seeds share test images and others have their own.
    """
    resamples = resamples or RESAMPLES
    methods = runs_by_method(results)
    labels = dict(zip(methods, method_labels(methods), strict=True))
    references = [key for key in methods if against in (key.trainer, labels[key])]
    if not references:
        known = list(dict.fromkeys([*(key.trainer for key in methods), *labels.values()]))
        raise ValueError(
            f"a method to compare with must be one of {', '.join(known)}, got {against!r}."
            f"{hint(against, known)}"
        )
    scorers: dict[tuple, RunPrecisions] = {}  # by what was tested on
    kept: dict[str, ScoredRun] = {}  # runs that methods are compared with
    found = []
    for key, runs in methods.items():
        reference = None if key in references else _reference(key, references, labels)
        if reference is None:
            continue
        pairs = _pairs(runs, methods[reference], labels[key], labels[reference])
        place = (key.dataset, key.split)
        if place not in scorers:
            scorers[place] = RunPrecisions(runs[0], resamples)
        scorer = scorers[place]
        new = {pair[1]["path"]: pair[1] for pair in pairs if pair[1]["path"] not in kept}
        kept.update(zip(new, scorer.of(list(new.values())), strict=True))
        mine = {pair[0]["path"]: pair[0] for pair in pairs}
        scored = dict(zip(mine, scorer.of(list(mine.values())), strict=True)) | kept
        own_images = _own_images(pairs, scored, scorer)
        spaces = {path: run.spaces for path, run in scored.items()}
        groups, classes = _differences(pairs, spaces, own_images)
        found.append(
            Comparison(
                *(labels[key], labels[reference], *place),
                score=runs[0]["score"] if runs[0]["score"] in groups else "logit",
                seeds=tuple(_seed(pair) for pair in pairs),
                images=scorer.images(scored[pairs[0][0]["path"]].images),
                own_images=own_images,
                resamples=resamples,
                rows=runs[0]["per_class"],
                groups=groups,
                classes=classes,
            )
        )
    if not found:
        raise ValueError(f"there is no other method to compare {against} with; name more folders")
    return found


def _reference(
    key: Method, references: Sequence[Method], labels: Mapping[Method, str]
) -> Method | None:
    """What a method is compared with: on its data set and split, and most like it otherwise."""
    fit = [r for r in references if (r.dataset, r.split) == (key.dataset, key.split)]
    for name in ("backbone", "config", "selection", "score"):
        alike = [r for r in fit if getattr(r, name) == getattr(key, name)]
        fit = alike or fit
    if len(fit) > 1:
        names = ", ".join(labels[r] for r in fit)
        raise ValueError(f"{labels[key]} could be compared with {names}; name one of these")
    return fit[0] if fit else None


def _pairs(runs: Sequence[Run], others: Sequence[Run], *labels: str) -> list[Pair]:
    """Runs of two methods by their seed; one that was not trained pairs with every seed."""
    if _untrained(runs) or _untrained(others):
        return [(run, other) for run in runs for other in others]
    by_seed = {run["seed"]: run for run in others}
    pairs = [(run, by_seed[run["seed"]]) for run in runs if run["seed"] in by_seed]
    if not pairs:
        seeds = [", ".join(str(run["seed"]) for run in method) for method in (runs, others)]
        raise ValueError(
            f"{labels[0]} (seeds {seeds[0]}) and {labels[1]} (seeds {seeds[1]}) have no seed in "
            "common; train both with the same seeds"
        )
    return sorted(pairs, key=lambda pair: pair[0]["seed"])


def _untrained(runs: Sequence[Run]) -> bool:
    return len(runs) == 1 and runs[0].get("epoch") == 0


def _seed(pair: Pair) -> int:
    """The seed of the run that was trained; of the first if both were."""
    return pair[1 if _untrained(pair[:1]) else 0]["seed"]


def _own_images(
    pairs: Sequence[Pair], scored: Mapping[str, ScoredRun], scorer: RunPrecisions
) -> bool:
    """Whether each of several pairs was tested on images of its own; both of a pair on the same."""
    for pair in pairs:
        scorer.check_same_images(*(scored[run["path"]] for run in pair))
    lists = {scored[run["path"]].images for run, _ in pairs}
    if 1 < len(lists) < len(pairs):
        names = ", ".join(str(run["seed"]) for run, _ in pairs)
        raise ValueError(
            f"{pairs[0][0]['path']}: seeds {names} were tested on {len(lists)} lists of images; "
            "compare runs that share one list, or of which each has its own"
        )
    return len(lists) > 1


def _differences(
    pairs: Sequence[Pair], scored: Mapping[str, Mapping[str, Precisions]], own_images: bool
) -> tuple[dict[str, dict[str, Uncertainty | None]], dict[str, list[Uncertainty | None]]]:
    """Differences by space of groups and of classes."""
    rows = pairs[0][0]["per_class"]
    members = {"all": list(range(len(rows)))}
    for group in GROUPS:
        members[group] = [c for c, row in enumerate(rows) if row["group"] == group]
    groups, classes = {}, {}
    common = set.intersection(*(set(scored[run["path"]]) for pair in pairs for run in pair))
    for space in (s for s in scored[pairs[0][0]["path"]] if s in common):
        sides = [[scored[run["path"]][space] for run in side] for side in zip(*pairs, strict=True)]
        own = _difference([[p.own for p in side] for side in sides])  # [S, C]
        resampled = _difference([[p.resampled for p in side] for side in sides])  # [S, R, C]
        # The same classes lack positives in both methods, so means of differences are
        # differences of means.
        groups[space] = {
            name: uncertainty(
                own[:, of].nanmean(dim=1), resampled[:, :, of].nanmean(dim=2), own_images
            )
            for name, of in members.items()
            if of
        }
        classes[space] = [
            uncertainty(own[:, c], resampled[:, :, c], own_images) for c in range(len(rows))
        ]
    return groups, classes


def _difference(sides: Sequence[Sequence[Tensor]]) -> Tensor:
    return torch.stack(list(sides[0])) - torch.stack(list(sides[1]))
