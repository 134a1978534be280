"""Runs with scores, as their folders have them: results.json and scores.npz, without training."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from evaluation.average_precision import average_precision
from evaluation.saved_scores import rank_scores, save_scores

CLASSES = [
    ("cat", "head", 200),
    ("dog", "medium", 40),
    ("owl", "tail", 5),
    ("emu", "tail", 3),
    ("yak", "tail", 9),
]
IMAGES = 80


def targets_of_all() -> torch.Tensor:
    """[80, 5], the same for every run; of emu there is no image, of yak two."""
    rng = torch.Generator().manual_seed(0)
    targets = (torch.rand(IMAGES, len(CLASSES), generator=rng) < 0.3).long()
    targets[:, 3:] = 0
    targets[[4, 9], 4] = 1
    return targets


def write_run(
    folder: Path, trainer: str, seed: int, strength: float, score: str = "logit", **changes: object
) -> torch.Tensor:
    """Write a run; the stronger, the higher are scores of what is present. Returns its logits."""
    rng = torch.Generator().manual_seed(1000 * seed + sum(map(ord, trainer)))
    targets = targets_of_all()
    logits = strength * targets + torch.randn(targets.shape, generator=rng)
    precisions = {
        space: 100 * average_precision(rank_scores(logits, space), targets)
        for space in ("logit", "softmax")
    }
    own = precisions[score].tolist()
    rows = [
        {"name": name, "train_count": n, "group": group, "positives": p, "AP": ap if p else None}
        for (name, group, n), p, ap in zip(CLASSES, targets.sum(0).tolist(), own, strict=True)
    ]
    metrics = {f"mAP_{space}": of.nanmean().item() for space, of in precisions.items()}
    facts = {"dataset": "ShapesLT", "backbone": "tiny", "split": "test", "selection": "last_step"}
    facts |= {"trainer": trainer, "seed": seed, "score": score, "epoch": 5, "per_class": rows}
    facts |= {"metrics": {"mAP": metrics[f"mAP_{score}"], **metrics}} | changes
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(facts))
    save_scores(folder / "scores.npz", logits, targets, [f"/{i}.jpg" for i in range(IMAGES)])
    return logits
