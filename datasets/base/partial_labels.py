"""Partial labels: for each (image, class) of the training set, whether its label is known.

The protocol of partial-label work (e.g. DualCoOp, Sun et al., NeurIPS 2022): every label is known
with one probability, independently, sampled once and kept for all runs. Two ways to keep it:
without a file, the mask is a function of the seed and the image's path, so the same seed always
gives the same mask and the labels known at a smaller proportion are among those known at a larger
one; with a file, runs of different seeds, or other programs, share one mask. A third way is the one
draw that HCP-MLR-PL's code makes (Chen et al., "Structured Semantic Transfer for Multi-Label
Recognition with Partial Labels", AAAI 2022, and later work), which TaI-DPT's mask files hold too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.choices import hint
from common.readers.npz_files import read_npz, write_npz
from datasets.base.subsets import path_draws

HCP = "hcp"
_KEYS = {"paths", "known", "proportion"}


def known_labels(
    paths: Sequence[str], num_classes: int, proportion: float, seed: int
) -> np.ndarray:
    """Draw which labels are known, each with probability `proportion`.

    Args:
        paths: N paths.
        num_classes: C.
        proportion: in [0, 1].
        seed: the run's seed.

    Returns:
        bool [N, C].
    """
    return path_draws(paths, num_classes, seed, "labels") < proportion


def hcp_known_labels(
    listed: Sequence[str], paths: Sequence[str], num_classes: int, proportion: float
) -> np.ndarray:
    """Draw which labels are known as HCP-MLR-PL does: numpy's legacy generator, seeded 0.

    One number for each entry of the whole list's matrix, in its order, whatever is used of it. So
    the labels known at a smaller proportion are among those known at a larger one.

    Args:
        listed: paths of the whole list, in the official order, unlabelled images among them.
        paths: N of them, those asked for.
        num_classes: C.
        proportion: in [0, 1].

    Returns:
        bool [N, C].
    """
    draws = np.random.RandomState(0).random_sample((len(listed), num_classes))
    rows = {path: row for row, path in enumerate(listed)}
    return draws[[rows[path] for path in paths]] < proportion


def shared_known_labels(
    file: str | Path,
    listed: Sequence[str],
    paths: Sequence[str],
    num_classes: int,
    proportion: float,
    seed: int,
) -> np.ndarray:
    """Read which labels are known from a file, or draw and write them if there is none yet.

    The file is an npz archive: `paths` (texts [N]), `known` (bool [N, C]) and `proportion`. It is
    read without executing anything, joined by path, and may list more images than asked for. It
    appears whole or not at all. Runs that start together must share a seed, or find the file there.

    Args:
        file: ends in .npz.
        listed: paths of all images that a new file is to cover.
        paths: N of them, those asked for.
        num_classes: C.
        proportion: probability of a known label; that of the file must be the same.
        seed: the run's seed; used where the file is to be made.

    Returns:
        bool [N, C].

    Raises:
        ValueError: the file is not such an archive, or belongs to another set or proportion.
        OSError: the file cannot be read or written.
    """
    file = Path(file).expanduser()
    if file.suffix != ".npz":
        raise ValueError(
            f"DATASET.LABEL_MASK must end in .npz or be {HCP}, got {str(file)!r}."
            f"{hint(file, [HCP])}"
        )
    if not file.exists():
        known = known_labels(listed, num_classes, proportion, seed)
        arrays = {"paths": np.array(listed), "known": known, "proportion": proportion}
        write_npz(file, arrays)
    saved_paths, known, saved_proportion = _read(file)
    if known.shape[1] != num_classes or not np.isclose(saved_proportion, proportion):
        raise ValueError(
            f"{file} is a mask of {known.shape[1]} classes at proportion {saved_proportion:g}, "
            f"needed are {num_classes} classes at proportion {proportion:g}. Name another "
            "DATASET.LABEL_MASK, or remove the file to have it drawn again."
        )
    rows = _rows_of(paths, saved_paths)
    absent = [path for path, row in zip(paths, rows, strict=True) if row < 0]
    if absent:
        raise ValueError(
            f"{file} lacks {len(absent)} of {len(paths)} training images, beginning with "
            f"{absent[0]!r}: it was made for another list. Name another DATASET.LABEL_MASK, or "
            "remove the file to have it drawn again."
        )
    return known[rows]


def _rows_of(paths: Sequence[str], saved: np.ndarray) -> np.ndarray:
    """Where each path stands among the saved ones [N]; -1 where it does not."""
    if not len(saved):
        return np.full(len(paths), -1)
    order = np.argsort(saved, kind="stable")  # no dict, which takes several times the file's size
    wanted = np.array(paths, dtype=str)
    places = np.searchsorted(saved, wanted, sorter=order).clip(max=len(saved) - 1)
    rows = order[places]
    return np.where(saved[rows] == wanted, rows, -1)


def _read(file: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """Return paths [N], mask [N, C] and proportion of a mask file."""
    try:
        content = read_npz(file, _KEYS)
    except ValueError as error:
        raise ValueError(f"{file} is no mask of labels: {error}") from error
    paths, known, proportion = (content[key] for key in ("paths", "known", "proportion"))
    fits = known.ndim == 2 and known.dtype == bool and paths.shape == known.shape[:1]
    numeric = proportion.dtype.kind in "fiu" and proportion.shape == ()
    if not fits or paths.dtype.kind != "U" or not numeric:
        raise ValueError(
            f"{file} must hold paths (texts [N]), known (bool [N, C]) and proportion (a number), "
            f"got {paths.dtype} {paths.shape}, {known.dtype} {known.shape} and "
            f"{proportion.dtype} {proportion.shape}."
        )
    return paths, known, float(proportion)
