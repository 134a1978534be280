"""Batch samplers of training that go by the classes of the images, and the choice among all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from common.choices import check_choice
from common.sparse_targets import SparseTargets
from loading.samplers import EpochBatchSampler

SAMPLERS = {
    "random": "every image once, in random order",
    "class_aware": "every class equally often",
    "balanced": "images drawn with replacement, those of rare classes more often",
}


class ClassAwareBatchSampler(EpochBatchSampler):
    """Visits the classes in turn and shows a few images of each, so that rare ones come as often.

    The schedule of the distribution-balanced loss (Wu et al., ECCV 2020): three images a visit, and
    an epoch of a quarter of (largest class count) * C images.

    Args:
        labels: N float vectors [C] with 1 where a class is present, or such targets [N, C].
        batch_size: images a batch.
        seed: the run's seed.
        flip: probability of the flipped view.
        views: as in `EpochBatchSampler`.

    Raises:
        ValueError: no image has a class.
    """

    per_visit = 3
    share = 0.25

    def __init__(
        self,
        labels: Sequence[np.ndarray] | SparseTargets,
        batch_size: int,
        seed: int,
        flip: float = 0.0,
        views: int = 0,
    ) -> None:
        self.members = [rows for rows in _as_sparse(labels).members() if len(rows)]
        if not self.members:
            raise ValueError(
                "TRAINER.SAMPLER class_aware shows the classes in turn, and no training image has "
                "one. Check the training list, or set it to random."
            )
        largest = max(len(rows) for rows in self.members)
        size = max(1, int(self.share * largest * len(self.members)))
        super().__init__(size, batch_size, seed, flip, views)

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Image indices of an epoch: classes in turn, each class's images without repetition."""
        queues = [self._endless(rows, rng) for rows in self.members]
        indices: list[int] = []
        while len(indices) < self.size:
            for c in rng.permutation(len(queues)):
                indices.extend(next(queues[c]) for _ in range(self.per_visit))
        return np.array(indices[: self.size])

    @staticmethod
    def _endless(rows: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
        while True:
            yield from rng.permutation(rows)


class BalancedBatchSampler(EpochBatchSampler):
    """Draws N images with replacement, each in proportion to how rare its classes are.

    The weight of an image is (sum of N / n_c over its classes) ** power, with n_c the images of
    class c: LM-CLIP's sampling. An image without a class has weight 0, or 1 where the power is 0.

    Args:
        labels: N float vectors [C] with 1 where a class is present, or such targets [N, C].
        batch_size: images a batch.
        seed: the run's seed.
        flip: probability of the flipped view.
        views: as in `EpochBatchSampler`.
        power: 0 draws all images alike; the larger, the more the rare classes are preferred.

    Attributes:
        shares: probability of each image in a draw [N].

    Raises:
        ValueError: no image has a class.
    """

    def __init__(
        self,
        labels: Sequence[np.ndarray] | SparseTargets,
        batch_size: int,
        seed: int,
        flip: float = 0.0,
        views: int = 0,
        power: float = 1.0,
    ) -> None:
        super().__init__(len(labels), batch_size, seed, flip, views)
        images, classes = _as_sparse(labels).known_entries()
        if not len(images):
            raise ValueError(
                "TRAINER.SAMPLER balanced draws images by their classes, and no training image has "
                "one. Check the training list, or set it to random."
            )
        rarity = np.bincount(images, self.size / np.bincount(classes)[classes], self.size)  # [N]
        weights = (rarity / rarity.max()) ** power  # 1 at most: a large power overflows nothing
        self.shares = weights / weights.sum()

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Image indices of an epoch: N draws, repetitions among them."""
        return rng.choice(self.size, self.size, p=self.shares)


def make_sampler(
    sampler: str,
    labels: Sequence[np.ndarray] | SparseTargets,
    batch_size: int,
    seed: int,
    flip: float,
    views: int = 0,
    power: float = 1.0,
) -> EpochBatchSampler:
    """Build the batch sampler that `TRAINER.SAMPLER` names.

    Args:
        sampler: one of `SAMPLERS`.
        labels: N float vectors [C] with 1 where a class is present, or such targets [N, C].
        batch_size: images a batch.
        seed: the run's seed.
        flip: probability of the flipped view.
        views: as in `EpochBatchSampler`.
        power: of `BalancedBatchSampler`, which alone reads it.

    Raises:
        ValueError: another name, or no image has a class where that matters.
    """
    check_choice("TRAINER.SAMPLER", sampler, SAMPLERS)
    if sampler == "random":
        return EpochBatchSampler(len(labels), batch_size, seed, flip, views)
    if sampler == "class_aware":
        return ClassAwareBatchSampler(labels, batch_size, seed, flip, views)
    return BalancedBatchSampler(labels, batch_size, seed, flip, views, power)


def _as_sparse(labels: Sequence[np.ndarray] | SparseTargets) -> SparseTargets:
    """Labels as ids, whatever they come as."""
    if isinstance(labels, SparseTargets):
        return labels
    return SparseTargets.from_matrix(np.stack([np.asarray(label) for label in labels]))
