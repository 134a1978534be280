"""Choose images of a multi-label set so that the class counts come near to wanted ones.

An image counts for all its classes at once, so that rare classes bring frequent ones with them and
no choice may meet every count. The distance minimised here is the sum over classes of
|count - wanted| / wanted: missing one of five images weighs as much as missing 20 of 100.
"""

from __future__ import annotations

import numpy as np

PROFILES = ("exponential", "pareto")
_LEAST_GAIN = 1e-9  # gains below are rounding errors of sums of 1 / wanted


def wanted_counts(
    available: np.ndarray, head: int, tail: int, least: int, profile: str
) -> np.ndarray:
    """Counts that fall from `head` to `tail` over the classes, most frequent first.

    Args:
        available: images of each class, int [C].
        head: count of the most frequent class.
        tail: count of the rarest class, from 1 to `head`.
        least: no class shall have fewer.
        profile: "exponential" falls by the same factor from class to class; "pareto" is the power
            law of the rank, which falls steeply at first and then has a long flat tail.

    Returns:
        Wanted images of each class, int64 [C], never more than available.
    """
    classes = len(available)
    rank = np.empty(classes)
    rank[np.argsort(-available, kind="stable")] = np.arange(classes)
    steps = max(classes - 1, 1)
    if profile == "exponential":
        share = rank / steps
    else:
        share = np.log1p(rank) / np.log1p(steps)
    counts = np.rint(head * (tail / head) ** share).astype(np.int64)
    return np.minimum(np.maximum(counts, least), available)


def select(
    targets: np.ndarray, wanted: np.ndarray, floors: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Choose images greedily: every step brings the counts nearer to the wanted ones.

    First each class gets its least count. Then, from the rarest class to the most frequent one,
    images are drawn at random among those that bring the whole nearer (the best ones would be those
    with the most labels, and the result denser than its source). At last single images are added
    and removed as long as that helps.

    Args:
        targets: multi-hot labels, bool [N, C].
        wanted: wanted images of each class, int [C], at most those available.
        floors: images of each class that must be chosen, int [C], at most `wanted`.
        rng: draws the order in which equally good images are taken.

    Returns:
        Indices of the chosen images in ascending order, int64 [K].
    """
    order = rng.permutation(len(targets))
    choice = _Choice(targets[order], wanted, floors)
    rarest_first = np.argsort(wanted, kind="stable")
    for c in rarest_first:
        choice.fill_floor(c)
    for c in rarest_first:
        choice.improve(adding=True, among=choice.targets[:, c] > 0, best_first=False)
    everywhere = np.ones(len(targets), dtype=bool)
    improved = True
    while improved:  # ends, as each step brings the counts nearer
        improved = choice.improve(adding=True, among=everywhere)
        improved |= choice.improve(adding=False, among=everywhere)
    return np.sort(order[choice.chosen])


class _Choice:
    """Chosen images, and the class counts that they have."""

    def __init__(self, targets: np.ndarray, wanted: np.ndarray, floors: np.ndarray) -> None:
        self.targets = targets.astype(np.float64)  # [N, C]
        self.wanted, self.floors = wanted, floors
        self.weights = 1.0 / np.maximum(wanted, 1)  # [C]
        self.counts = np.zeros(targets.shape[1])  # [C]
        self.chosen = np.zeros(len(targets), dtype=bool)  # [N]

    def fill_floor(self, c: int) -> None:
        """Add the least harmful images of class `c` until it has its least count."""
        while self.counts[c] < self.floors[c]:
            gains = self.gains(adding=True)
            gains[self.chosen | (self.targets[:, c] == 0)] = -np.inf
            self.flip(int(np.argmax(gains)), adding=True)

    def improve(self, adding: bool, among: np.ndarray, best_first: bool = True) -> bool:
        """Add or remove images of `among` [N] while one brings the counts nearer.

        Returns:
            Whether any did.
        """
        flipped = False
        while True:
            state = self.state(adding)
            gains = self.gains(adding)
            useful = among & (self.chosen != adding) & (gains > _LEAST_GAIN)
            if not adding:
                useful &= ~(self.targets[:, self.counts <= self.floors] > 0).any(axis=1)
            images = np.flatnonzero(useful)
            if best_first:
                images = images[np.argsort(-gains[images], kind="stable")]
            if not len(images):
                return flipped
            flipped = True
            for image in images:
                self.flip(image, adding)
                if (self.state(adding) != state).any():
                    break  # a class is full or at its floor: the gains are other ones now

    def gains(self, adding: bool) -> np.ndarray:
        """By how much each image would bring the counts nearer, [N]."""
        helps = self.counts < self.wanted if adding else self.counts > self.wanted
        return self.targets @ np.where(helps, self.weights, -self.weights)

    def state(self, adding: bool) -> np.ndarray:
        """All that `improve` depends on beside the choice itself; bool [2, C]."""
        helps = self.counts < self.wanted if adding else self.counts > self.wanted
        return np.stack([helps, self.counts <= self.floors])

    def flip(self, image: int, adding: bool) -> None:
        self.chosen[image] = adding
        self.counts += self.targets[image] if adding else -self.targets[image]
