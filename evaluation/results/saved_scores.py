"""The logits and targets that a run keeps of a split: scores.npz."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from common.readers.npz_files import read_npz, write_npz
from evaluation.metrics.output_link import LINKED, Link


class SavedScores(NamedTuple):
    """What a run left of a split, in the order of its list.

    Attributes:
        logits: [N, C], float32.
        targets: [N, C], int8: 1 present, 0 absent, -1 unknown.
        paths: N pictures.

    Of large splits (`common.readers.npz_files.MAP_FROM_BYTES`) they are maps of the file.
    """

    logits: Tensor
    targets: Tensor
    paths: list[str]


def load_scores(path: str | Path) -> SavedScores:
    """Read a scores.npz.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is damaged, or its arrays do not belong together.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}; run again with TEST.SAVE_SCORES all.")
    arrays = read_npz(path, ("scores", "targets", "paths"))
    scores, targets, paths = arrays["scores"], arrays["targets"], arrays["paths"]
    if scores.ndim != 2 or scores.shape != targets.shape or paths.shape != scores.shape[:1]:
        raise ValueError(
            f"{path}: expected scores [N, C], targets [N, C] and N paths, got "
            f"{list(scores.shape)}, {list(targets.shape)} and {list(paths.shape)}."
        )
    return SavedScores(torch.from_numpy(scores), torch.from_numpy(targets), paths.tolist())


def rank_scores(logits: Tensor, space: str, link: Link | None = None) -> Tensor:
    """Scores [N, C] in float64 that rank images as a space of TEST.SCORE does.

    Softmax probabilities are taken by their logarithm: themselves they underflow to 0 where a class
    lies far below another one, and then tie. A sigmoid keeps the order of the logits.

    Args:
        logits: [N, C].
        space: logit, sigmoid, softmax or softmax_link.
        link: of softmax_link.
    """
    logits = logits.double()
    if space == LINKED:
        return link.log_softmax(logits)
    return F.log_softmax(logits, dim=1) if space == "softmax" else logits


def difference_of_images(first: SavedScores, second: SavedScores) -> str:
    """What tells the test images of two runs apart, in a sentence; empty if nothing does.

    Folders do not count, for a data root may move.
    """
    if [Path(p).name for p in first.paths] != [Path(p).name for p in second.paths]:
        return (
            f"The runs were tested on different images: {len(first.paths)} beginning with "
            f"{first.paths[0]}, {len(second.paths)} beginning with {second.paths[0]}."
        )
    if not torch.equal(first.targets, second.targets):
        return (
            "The runs were tested on images of the same names with different labels, "
            f"{first.paths[0]} and {second.paths[0]} being the first."
        )
    return ""


def check_same_images(first: SavedScores, second: SavedScores) -> None:
    """Refuse scores of other images, or of the same ones with other labels.

    Raises:
        ValueError: they are.
    """
    if difference := difference_of_images(first, second):
        raise ValueError(difference)


def save_scores(path: str | Path, scores: Tensor, targets: Tensor, paths: Sequence[str]) -> None:
    """Write scores.npz, which `numpy.load` reads without unpickling; whole or not at all.

    Args:
        path: file to write; missing folders are made.
        scores: [N, C], stored as float32. Pass `evaluator.logits`: every score space follows
            from them. Half precision makes ties: it moved ShapesLT's figures by up to 0.053 points.
        targets: [N, C], stored as int8.
        paths: N image paths.

    Raises:
        ValueError: shapes or lengths differ.
    """
    if scores.ndim != 2 or scores.shape != targets.shape or len(paths) != len(scores):
        raise ValueError(
            "expected scores [N, C], targets [N, C] and N paths, "
            f"got {list(scores.shape)}, {list(targets.shape)} and {len(paths)}"
        )
    arrays = {
        "scores": scores.detach().float().cpu().numpy(),
        "targets": targets.detach().to(torch.int8).cpu().numpy(),
        "paths": np.array([str(p) for p in paths], dtype=np.str_),
    }
    write_npz(path, arrays)
