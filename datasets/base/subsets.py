"""Which images a multi-label set trains on: a few shots of each class, a validation hold-out.

All chance comes from the seed and an image's path, so the choice depends neither on the order of
the list nor on which other random numbers were drawn before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from common.sparse_targets import SparseTargets


def path_draws(paths: Sequence[str], count: int, seed: int, purpose: str) -> np.ndarray:
    """Draw uniform numbers in [0, 1) that are a function of (seed, purpose, path) alone.

    Args:
        paths: N paths.
        count: numbers per path; a larger count begins with the numbers of a smaller one.
        seed: the run's seed.
        purpose: keeps the draws of different uses apart.

    Returns:
        float64 [N, count].
    """
    words = bytearray().join(
        hashlib.shake_256(f"{seed}\n{purpose}\n{path}".encode()).digest(8 * count) for path in paths
    )
    bits = np.frombuffer(words, dtype="<u8").reshape(len(paths), count)
    return (bits >> 11) * 2.0**-53  # the 53 bits that a float64 holds exactly


def few_shot(paths: Sequence[str], targets: SparseTargets, shots: int, seed: int) -> np.ndarray:
    """Choose a small training set in which every class has `shots` images, or all of its own.

    Greedy, from the rarest class to the most frequent: while a class lacks images, the one is taken
    that shows the fewest classes already served, the draw deciding between equals. Images that
    later ones made superfluous are then given back, so none of those left can be spared. Frequent
    classes may still exceed `shots`, for they come along with others. Images without labels are
    left out.

    Args:
        paths: N paths.
        targets: [N, C], which classes are present.
        shots: images per class, at least 1.
        seed: the run's seed.

    Returns:
        bool [N], the images chosen.
    """
    present, members, counts = targets.present, targets.members(), targets.counts()
    wanted = np.minimum(counts, shots)  # [C]
    draws = path_draws(paths, 1, seed, "few-shot")[:, 0]
    chosen = np.zeros(len(paths), dtype=bool)
    held = np.zeros_like(wanted)
    for label in np.argsort(counts, kind="stable"):
        while held[label] < wanted[label]:
            candidates = members[label][~chosen[members[label]]]
            rows, classes = present.entries(candidates)
            surplus = np.bincount(rows, held[classes] >= wanted[classes], len(candidates))
            image = candidates[np.lexsort((draws[candidates], surplus))[0]]
            chosen[image] = True
            held[present.classes(image)] += 1
    taken = np.flatnonzero(chosen)
    for image in taken[np.argsort(draws[taken])]:
        own = present.classes(image)
        if (held[own] > wanted[own]).all():
            chosen[image] = False
            held[own] -= 1
    return chosen


def hold_out(
    paths: Sequence[str], targets: SparseTargets, fraction: float, seed: int
) -> np.ndarray:
    """Choose validation images so that each class keeps its share of both parts.

    Iterative stratification (Sechidis et al., "On the Stratification of Multi-Label Data", ECML
    2011, Algorithm 1) with two parts: the images of the class with the fewest left are dealt out
    first, each to the part that still lacks more of that class. One rule is added: training keeps
    an image of every class, so the only image of a class is never held out.

    Args:
        paths: N paths.
        targets: [N, C], which classes are present.
        fraction: share of the images to hold out, in (0, 1).
        seed: the run's seed.

    Returns:
        bool [N], the images held out.
    """
    present, members, counts = targets.present, targets.members(), targets.counts()
    shares = np.array([1 - fraction, fraction])  # training, validation
    images_due = shares * len(paths)
    labels_due = np.outer(shares, counts)  # [2, C]
    spare = counts - 1  # images of each class that training can still do without
    order = np.argsort(path_draws(paths, 1, seed, "hold-out")[:, 0])
    place = np.argsort(order)  # of an image in the order
    left, held = np.ones(len(paths), dtype=bool), np.zeros(len(paths), dtype=bool)
    remaining = counts.copy()  # images of each class that are left
    while left.any():
        if remaining.any():
            label = np.where(remaining > 0, remaining, len(paths) + 1).argmin()
            dealt, due = members[label][left[members[label]]], labels_due[:, label]
        else:  # only images without labels are left: they even out the sizes
            dealt, due = np.flatnonzero(left), images_due
        for image in dealt[np.argsort(place[dealt])]:
            own = present.classes(image)
            lacks_more = (due[1], images_due[1]) > (due[0], images_due[0])
            held[image] = lacks_more and (spare[own] > 0).all()
            part = int(held[image])
            images_due[part] -= 1
            labels_due[part, own] -= 1
            spare[own] -= held[image]
            remaining[own] -= 1
        left[dealt] = False
    return held
