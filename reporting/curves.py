"""Curves of a run: precision against recall, and what TensorBoard kept of its training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from evaluation.metrics.precision_recall import counts_by_threshold

Curve = tuple[np.ndarray, np.ndarray]  # x and y, one value for each point


def precision_recall(scores: Tensor, targets: Tensor) -> Curve:
    """Recall and precision of one class, at the thresholds where the recall rises.

    These are the steps that average precision adds up: sum (R_n - R_{n-1}) * P_n. Equal scores
    share a threshold.

    Args:
        scores: [N], higher means more likely present.
        targets: [N], 1 present, 0 absent, -1 unknown (the image is ignored).

    Returns:
        Recall and precision [K], recall rising to 1; empty without positives.
    """
    hits, retrieved = (counts.numpy() for counts in counts_by_threshold(scores, targets))
    gains = np.diff(hits, prepend=0) > 0
    hits, retrieved = hits[gains], retrieved[gains]
    return hits / max(int((targets == 1).sum()), 1), hits / retrieved


def learning_curves(folder: Path) -> Mapping[str, Curve]:
    """The scalars that TensorBoard's event files below a run's folder hold.

    They are exact where log.txt is rounded. Of steps that a resumed run took again, the later
    values count. A damaged file is read up to the damage.

    Args:
        folder: the run's.

    Returns:
        Steps and values by name, such as "train/loss"; empty without event files.
    """
    files = sorted(path for path in folder.rglob("events.out.tfevents.*") if path.is_file())
    if not files:
        return {}
    from tensorboard.backend.event_processing import event_accumulator

    values: dict[str, dict[int, float]] = {}
    for file in files:
        events = event_accumulator.EventAccumulator(
            str(file), size_guidance={event_accumulator.SCALARS: 0}
        )
        events.Reload()
        for name in events.Tags()["scalars"]:
            kept = values.setdefault(name, {})
            kept.update((event.step, event.value) for event in events.Scalars(name))
    return {
        name: (np.array(sorted(kept)), np.array([kept[step] for step in sorted(kept)]))
        for name, kept in values.items()
    }
