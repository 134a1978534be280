"""Features of the frozen image tower, computed once for every view that training can draw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import Sampler

from loading.samplers import Sample
from modeling.encoders.features import Features


class Cache(Protocol):
    """What can answer draws with a batch; labels lie on the device that trains."""

    labels: Tensor

    def __len__(self) -> int: ...

    def batch(self, draws: Sequence[Sample], drawn: Tensor) -> dict[str, Any]:
        """The batch that decoding these draws would give; `drawn` is their `as_index_tensor`."""


def as_index_tensor(draws: Sequence[Sample], device: torch.device) -> Tensor:
    """Index, view and seed of draws on a device: int64 [3, B]."""
    rows = [(draw.index, draw.view, draw.seed) for draw in draws]
    return torch.tensor(rows).t().to(device, non_blocking=True)  # [3, B]


class FeatureCache:
    """Features of V views of N images.

    With a frozen tower in eval mode a feature depends on its picture and its view alone, so looking
    it up is what encoding would give, whatever the batch.

    Args:
        views: V times `Features` of N rows each, or one with tensors [V, N, ...]. Global features
            on the device that trains; local ones there or in the CPU's memory, in fp16 as a rule.
            Under a horizontal flip, view 0 is the plain image and view 1 the mirrored one.
        labels: [N, C] targets (or [N] class indices), on the device that trains.
        impaths: N paths.
    """

    def __init__(
        self, views: Features | Sequence[Features], labels: Tensor, impaths: Sequence[str]
    ) -> None:
        self.views = views if isinstance(views, Features) else stack_views(views)
        self.labels, self.impaths = labels, impaths

    def __len__(self) -> int:
        return self.views.global_features.shape[1]

    def batch(self, draws: Sequence[Sample], drawn: Tensor) -> dict[str, Any]:
        """The batch that decoding and encoding these draws would lead to; features in fp32.

        Args:
            draws: of B examples.
            drawn: the same, `as_index_tensor` on the device that trains.
        """
        local_features = self._pick(self.views.local_features, draws, drawn)
        index, _, seed = drawn
        return {
            "features": Features(
                self._pick(self.views.global_features, draws, drawn),
                None if local_features is None else local_features.float(),
                self._pick(self.views.mask, draws, drawn),
            ),
            "label": self.labels[index],
            "index": index,
            "sample_seed": seed,
            "impath": [self.impaths[draw.index] for draw in draws],
        }

    def _pick(self, stack: Tensor | None, draws: Sequence[Sample], drawn: Tensor) -> Tensor | None:
        """Rows [B, ...] of a tensor [V, N, ...], on the device that trains."""
        if stack is None:
            return None
        if stack.device != drawn.device:  # in the CPU's memory, where asking the GPU would wait
            return self._pick(stack, draws, as_index_tensor(draws, stack.device)).to(drawn.device)
        index, view, _ = drawn
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
    """Iterates batches of a cache in the order of a plan.

    The cache is made on first use, so that an evaluation never encodes the training images.

    Args:
        make: builds the cache.
        plan: yields lists of draws.
    """

    def __init__(self, make: Callable[[], Cache], plan: Sampler[list[Sample]]) -> None:
        self._make, self.plan = make, plan
        self._cache: Cache | None = None

    @property
    def cache(self) -> Cache:
        """The cache, built now if it is not there yet."""
        if self._cache is None:
            self._cache = self._make()
        return self._cache

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        yield from batches(self.cache, self.plan)


def batches(cache: Cache, plan: Sampler[list[Sample]]) -> Iterator[dict[str, Any]]:
    """An epoch's batches; its draws go to the device at once, so that no batch waits for a copy."""
    epoch = list(plan)
    drawn = as_index_tensor(
        [draw for draws in epoch for draw in draws], cache.labels.device
    )  # [3, N]
    parts = drawn.split([len(draws) for draws in epoch], dim=1)
    for draws, part in zip(epoch, parts, strict=True):
        yield cache.batch(draws, part)
