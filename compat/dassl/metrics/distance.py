"""Distances between the rows of two matrices."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def compute_distance_matrix(input1: Tensor, input2: Tensor, metric: str = "euclidean") -> Tensor:
    """All distances [N1, N2] between the rows of [N1, D] and [N2, D].

    Args:
        input1: matrix [N1, D].
        input2: matrix [N2, D].
        metric: euclidean (squared) | cosine.

    Raises:
        ValueError: unknown metric, or the shapes do not suit.
    """
    if input1.dim() != 2 or input2.dim() != 2 or input1.shape[1] != input2.shape[1]:
        raise ValueError(
            f"Expected two matrices of the same width, got {[*input1.shape]} and {[*input2.shape]}"
        )
    metrics = {"euclidean": euclidean_squared_distance, "cosine": cosine_distance}
    if metric not in metrics:
        raise ValueError(
            f'Unknown distance metric: {metric}. Please choose either "euclidean" or "cosine"'
        )
    return metrics[metric](input1, input2)


def euclidean_squared_distance(input1: Tensor, input2: Tensor) -> Tensor:
    """Squared Euclidean distances [N1, N2]."""
    squares = input1.square().sum(dim=1)[:, None] + input2.square().sum(dim=1)  # [N1, N2]
    return squares - 2 * input1 @ input2.t()


def cosine_distance(input1: Tensor, input2: Tensor) -> Tensor:
    """One minus the cosine, [N1, N2]."""
    return 1 - F.normalize(input1, dim=1) @ F.normalize(input2, dim=1).t()
