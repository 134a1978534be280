"""Average precision of every class at once, exact and on the scores' own device.

Non-interpolated average precision, the area under the precision-recall steps:

    AP = sum_n (R_n - R_{n-1}) * P_n

with precision `P_n` and recall `R_n` at the n-th distinct score, from the highest down (Zhu,
"Recall, precision and average precision", 2004; the definition of scikit-learn's
`average_precision_score`). Equal scores share one threshold, so the order of the images never
changes the result. Only the order of the scores matters: pass logits as they are. A sigmoid in
single precision maps everything above 17 to exactly 1, and CLIP's logits lie near 25.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["ENTRIES", "average_precision", "check_scores", "rank_and_average"]

ENTRIES = 1 << 18  # (image, class) pairs that are ranked at once, of 75 bytes each while it lasts


def average_precision(
    scores: Tensor, targets: Tensor, class_names: Sequence[str] | None = None
) -> Tensor:
    """Return the average precision of each class.

    Apart from one flag of `check_scores`, nothing waits for the device.

    Args:
        scores: [N, C], floating point; higher means more likely present.
        targets: [N, C], 1 present, 0 absent, -1 unknown (the entry is ignored); any dtype.
        class_names: C names for error messages; column numbers are used without them.

    Returns:
        [C] float64 in [0, 1], NaN for a class without positives.

    Raises:
        TypeError: `scores` are not floating point.
        ValueError: shapes differ, a score is NaN, or a target is not 1, 0 or -1.
    """
    check_scores([scores], [targets], class_names)
    step = max(1, ENTRIES // max(len(scores), 1))
    pieces = zip(scores.split(step, dim=1), targets.split(step, dim=1), strict=True)
    return torch.cat([rank_and_average(*piece) for piece in pieces])


def check_scores(
    scores: Sequence[Tensor], targets: Sequence[Tensor], class_names: Sequence[str] | None = None
) -> None:
    """Raise unless batches of scores and targets can be ranked; see `average_precision`."""
    flags = [_flags(*pair) for pair in zip(scores, targets, strict=True)]
    is_nan, is_other = (torch.stack(parts).any(dim=0) for parts in zip(*flags, strict=True))  # [C]
    if not (is_nan | is_other).any():  # the only wait for the device
        return
    if is_nan.any():
        raise ValueError(
            f"expected scores without NaN, got NaN in {_first_class(is_nan, class_names)}; "
            "look for a diverged training or an overflow in half precision"
        )
    raise ValueError(
        "expected targets of 1 (present), 0 (absent) or -1 (unknown), "
        f"got other values in {_first_class(is_other, class_names)}"
    )


def _flags(scores: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Which classes have a NaN among their scores, and another target than 1, 0 or -1: [C]."""
    if scores.ndim != 2 or scores.shape != targets.shape:
        raise ValueError(
            "expected scores and targets of one shape [N, C], "
            f"got scores {list(scores.shape)} and targets {list(targets.shape)}"
        )
    if not scores.is_floating_point():
        raise TypeError(f"expected floating-point scores, got {scores.dtype}; pass the logits")
    is_nan = torch.zeros(scores.shape[1], dtype=torch.bool, device=scores.device)
    is_other = torch.zeros_like(is_nan)
    step = max(1, ENTRIES // max(scores.shape[1], 1))
    for some, truth in zip(scores.split(step), targets.split(step), strict=True):
        is_nan |= some.isnan().any(dim=0)
        is_other |= ((truth != 1) & (truth != 0) & (truth != -1)).any(dim=0)
    return is_nan, is_other


def _first_class(flags: Tensor, class_names: Sequence[str] | None) -> str:
    """Name the first flagged class and say how many there are."""
    columns = flags.nonzero().flatten().tolist()
    name = f"class {columns[0]}"
    if class_names is not None:
        name += f" ({class_names[columns[0]]})"
    return name if len(columns) == 1 else f"{name} and {len(columns) - 1} more of {len(flags)}"


def rank_and_average(scores: Tensor, targets: Tensor) -> Tensor:
    """`average_precision` of scores that were checked, all at once and without a wait."""
    # One row per class, so that every pass below runs along contiguous memory.
    ranked, order = scores.T.contiguous().sort(dim=1, descending=True)  # [C, N], as all below
    targets = targets.T.gather(1, order)
    # Integer counts are exact. An unknown entry adds to neither count, so it may stay in its place.
    hits = (targets == 1).cumsum(1, dtype=torch.int32)
    retrieved = (targets != -1).cumsum(1, dtype=torch.int32)

    is_threshold = torch.ones_like(ranked, dtype=torch.bool)
    is_threshold[:, :-1] = ranked[:, :-1] != ranked[:, 1:]  # the last of each run of equal scores

    # Hits only grow, so the running maximum over thresholds is the hits at the latest threshold.
    hits_so_far = hits.where(is_threshold, 0).cummax(dim=1).values
    hits_before = torch.zeros_like(hits)
    hits_before[:, 1:] = hits_so_far[:, :-1]

    precision = hits.double() / retrieved.clamp(min=1)
    gained = (hits - hits_before).where(is_threshold, 0)
    return (precision * gained).sum(dim=1) / (targets == 1).sum(dim=1)  # [C], 0 / 0 is NaN
