"""Folders of runs as a training leaves them, made of given scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from evaluation.results.saved_scores import save_scores
from tests.helpers.naive.naive_metrics import naive_average_precision
from tests.helpers.small_results import make_result

GROUPS = ("head", "medium", "tail")


def made_scores(images: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits and targets [N, C]: correlated classes, ties and unknown labels included."""
    generator = torch.Generator().manual_seed(seed)
    targets = (torch.rand(images, classes, generator=generator) < 0.2).to(torch.int8)
    targets[torch.arange(classes) % images, torch.arange(classes)] = 1
    noise = torch.randn(images, classes, generator=generator)
    logits = noise + targets + targets.roll(1, dims=1)  # a class is taken for the next one, too
    unknown = torch.rand(images, classes, generator=generator) < 0.05
    return (4 * logits).round() / 4, targets.masked_fill(unknown, -1)


def write_run(
    folder: Path,
    names: Sequence[str],
    logits: Tensor,
    targets: Tensor,
    paths: Sequence[str],
    trainer: str = "LMPT",
    seed: int = 1,
    score: str = "logit",
    **changes: object,
) -> Path:
    """Write results.json and scores.npz; metrics come from the naive average precision."""
    ranked = F.log_softmax(logits.double(), dim=1) if score == "softmax" else logits
    columns = zip(ranked.T.tolist(), targets.T.tolist(), strict=True)
    rows = []
    for number, (name, column) in enumerate(zip(names, columns, strict=True)):
        precision = 100 * naive_average_precision(*column)
        row = {"name": name, "train_count": 900 // (number + 1), "group": GROUPS[number % 3]}
        row |= {"positives": column[1].count(1)}
        rows.append(row | {"AP": None if precision != precision else precision})
    defined = {
        g: [r["AP"] for r in rows if r["AP"] is not None and r["group"] == g] for g in GROUPS
    }
    metrics = {f"mAP_{group}": sum(own) / len(own) for group, own in defined.items() if own}
    everything = sum(defined.values(), [])
    metrics["mAP"] = sum(everything) / len(everything)
    facts = {"score": score, "metrics": metrics, "per_class": rows, "seconds": 12.5, "epoch": 3}
    facts |= {"threshold": {"value": 0.5, "of": "sigmoid"}} | changes
    result = make_result(trainer, seed, **facts)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(result))
    save_scores(folder / "scores.npz", logits, targets, paths)
    return folder
