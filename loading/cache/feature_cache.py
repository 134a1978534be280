"""Feature cache: encoder outputs of every image under every view, computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from common.sparse_targets import SparseTargets
from loading.cache.feature_rows import MappedRows
from loading.samplers import Sample
from modeling.encoders.features import Features

_AHEAD = 1024  # batches whose indices are made at once


class Cache(Protocol):
    """Turns samples into a batch without decoding; `labels` are on the training device."""

    labels: Tensor | SparseTargets

    def __len__(self) -> int: ...

    def batch(self, samples: Sequence[Sample], indices: Tensor) -> dict[str, Any]:
        """The same batch as decoding would give; `indices` are `as_index_tensor(samples)`."""


def as_index_tensor(samples: Sequence[Sample], device: torch.device) -> Tensor:
    """Index, view and seed of B samples as one tensor on a device: int64 [3, B]."""
    rows = [(sample.index, sample.view, sample.seed) for sample in samples]
    return torch.tensor(rows).t().to(device, non_blocking=True)  # [3, B]


def labels_of(labels: Tensor | SparseTargets, samples: Sequence[Sample], index: Tensor) -> Tensor:
    """Labels of a batch; those of sparse targets by the samples, which need not be asked for."""
    if isinstance(labels, SparseTargets):
        return labels[[sample.index for sample in samples]]
    return labels[index]


class FeatureCache:
    """Features of V views of N images.

    With a frozen tower in eval mode a feature depends on its picture and its view alone, so looking
    it up is what encoding would give, whatever the batch.

    Args:
        views: V times `Features` of N rows each, or one with tensors [V, N, ...], on the device
            that trains, or, where they are large, in the CPU's memory or `MappedRows`. Local ones
            are in fp16 as a rule. Under a horizontal flip, view 0 is the plain image and view 1
            the mirrored one.
        labels: [N, C] targets (or [N] class indices), on the device that trains.
        impaths: N paths.
    """

    def __init__(
        self,
        views: Features | Sequence[Features],
        labels: Tensor | SparseTargets,
        impaths: Sequence[str],
    ) -> None:
        self.views = views if isinstance(views, Features) else stack_views(views)
        self.labels, self.impaths = labels, impaths

    def __len__(self) -> int:
        return self.views.global_features.shape[1]

    def batch(self, samples: Sequence[Sample], indices: Tensor) -> dict[str, Any]:
        """The same batch as decoding and encoding would give; features in fp32.

        Args:
            samples: of B examples.
            indices: the same, `as_index_tensor` on the device that trains.
        """
        local_features = self._pick(self.views.local_features, samples, indices)
        index, _, seed = indices
        return {
            "features": Features(
                self._pick(self.views.global_features, samples, indices),
                None if local_features is None else local_features.float(),
                self._pick(self.views.mask, samples, indices),
            ),
            "label": labels_of(self.labels, samples, index),
            "index": index,
            "sample_seed": seed,
            "impath": [self.impaths[sample.index] for sample in samples],
        }

    def _pick(
        self, stack: Tensor | MappedRows | None, samples: Sequence[Sample], indices: Tensor
    ) -> Tensor | None:
        """Rows [B, ...] of a tensor [V, N, ...], on the device that trains."""
        if stack is None:
            return None
        if isinstance(stack, MappedRows):
            places = np.array([(sample.index, sample.view) for sample in samples]).T  # [2, B]
            return stack.rows(*places).to(indices.device)
        if stack.device != indices.device:  # in the CPU's memory, where asking the GPU would wait
            return self._pick(stack, samples, as_index_tensor(samples, stack.device)).to(
                indices.device
            )
        index, view, _ = indices
        return stack.flatten(0, 1)[view * len(self) + index]


def stack_views(views: Sequence[Features]) -> Features:
    """V times `Features` of N rows as one with tensors [V, N, ...]; a single one is not copied."""

    def stack(tensors: list[Tensor | None]) -> Tensor | None:
        if tensors[0] is None:
            return None
        return tensors[0][None] if len(tensors) == 1 else torch.stack(tensors)  # [V, N, ...]

    return Features(
        stack([view.global_features for view in views]),
        stack([view.local_features for view in views]),
        stack([view.mask for view in views]),
    )


class CachedLoader:
    """Data loader on top of a cache, in the order of a batch sampler.

    The cache is made on first use, so that an evaluation never encodes the training images.

    Args:
        make: builds the cache.
        sampler: yields lists of samples.
    """

    def __init__(self, make: Callable[[], Cache], sampler: Sampler[list[Sample]]) -> None:
        self._make, self.sampler = make, sampler
        self._cache: Cache | None = None

    @property
    def cache(self) -> Cache:
        """The cache, built now if it is not there yet."""
        if self._cache is None:
            self._cache = self._make()
        return self._cache

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        yield from batches(self.cache, self.sampler)


def batches(cache: Cache, sampler: Sampler[list[Sample]]) -> Iterator[dict[str, Any]]:
    """Batches of one epoch; indices of many are copied to the device at once, so few wait."""
    rest = iter(sampler)
    while batches_ahead := list(islice(rest, _AHEAD)):
        indices = as_index_tensor(
            [sample for samples in batches_ahead for sample in samples], cache.labels.device
        )  # [3, N]
        parts = indices.split([len(samples) for samples in batches_ahead], dim=1)
        for samples, part in zip(batches_ahead, parts, strict=True):
            yield cache.batch(samples, part)
