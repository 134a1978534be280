"""What a run learns from: targets and captions of its images, or of texts in their place."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from dassl.data.datasets import DatasetBase
from torch import Tensor

from common.items import targets_of
from common.sparse_targets import SparseTargets


class Supervision(NamedTuple):
    """Targets and captions of what is trained on.

    Attributes:
        targets: [N, C] of the training images, or of the texts: 1, 0 or -1.
        captions: of each of them, or None.
        texts: what is trained on in place of images, or None.
    """

    targets: Tensor | SparseTargets
    captions: list[list[str]] | None
    texts: Any | None

    @property
    def class_counts(self) -> Tensor:
        """Of each class, how many show it [C], on the CPU."""
        if isinstance(self.targets, SparseTargets):
            return torch.from_numpy(self.targets.counts())
        return (self.targets == 1).sum(dim=0)

    @property
    def num_known(self) -> int:
        """Labels that are known, present or absent: N C where all are."""
        if isinstance(self.targets, SparseTargets):
            return self.targets.num_known()
        return int((self.targets >= 0).sum())


def read_supervision(dataset: DatasetBase, text_as_image: bool) -> Supervision:
    """Supervision of a data set's training split.

    Args:
        dataset: the data set.
        text_as_image: whether its texts are trained on in place of its images.

    Raises:
        ValueError: it has no texts to train on.
    """
    if text_as_image:
        texts = getattr(dataset, "texts", None)
        if texts is None:
            raise ValueError(
                f"{type(dataset).__name__} has no captions to train on; set "
                "DATASET.TEXT_AS_IMAGE False."
            )
        captions = [[sentence] for sentence in texts.sentences]
        return Supervision(torch.as_tensor(texts.labels), captions, texts)
    targets = targets_of(dataset.train_x)  # [N, C]
    if targets is None:
        labels = torch.stack([torch.as_tensor(item.label) for item in dataset.train_x])
        targets = one_row_each(labels, len(dataset.classnames))
    return Supervision(targets, getattr(dataset, "captions", None), None)


def one_row_each(labels: Tensor, num_classes: int) -> Tensor:
    """Targets [B, C] of labels [B, C], or of one class index an image [B]."""
    return F.one_hot(labels, num_classes).float() if labels.dim() == 1 else labels
