"""Features of the frozen image tower, computed once for every view that training can draw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import Sampler

from modeling.data_path import Draw
from modeling.views import Views


class Cache(Protocol):
    """What can answer draws with a batch."""

    def __len__(self) -> int: ...

    def batch(self, draws: Sequence[Draw]) -> dict[str, Any]:
        """The batch that decoding these draws would lead to."""


class FeatureCache:
    """Features of V views of N images.

    With a frozen tower in eval mode a feature depends on its picture and its view alone, so looking
    it up is what encoding would give, whatever the batch.

    Args:
        views: V times `Views` of N rows each, or one with tensors [V, N, ...]. Global features on
            the device that trains; local ones there or in the CPU's memory, in fp16 as a rule.
            Under a horizontal flip, view 0 is the plain image and view 1 the mirrored one.
        labels: [N, C] targets (or [N] class indices), on the device that trains.
        impaths: N paths.
    """

    def __init__(
        self, views: Views | Sequence[Views], labels: Tensor, impaths: Sequence[str]
    ) -> None:
        self.views = views if isinstance(views, Views) else stack_views(views)
        self.labels, self.impaths = labels, impaths

    def __len__(self) -> int:
        return self.views.global_features.shape[1]

    def batch(self, draws: Sequence[Draw]) -> dict[str, Any]:
        """The batch that decoding and encoding these draws would lead to; features in fp32."""
        index = torch.tensor([draw.index for draw in draws])
        view = torch.tensor([draw.view for draw in draws])
        rows = view * len(self) + index
        device = self.views.global_features.device

        def pick(stack: Tensor | None) -> Tensor | None:
            if stack is None:
                return None
            return stack.flatten(0, 1)[rows.to(stack.device)].to(device)  # [B, ...]

        local_features = pick(self.views.local_features)
        return {
            "views": Views(
                pick(self.views.global_features),
                None if local_features is None else local_features.float(),
                pick(self.views.mask),
            ),
            "label": self.labels[index.to(self.labels.device)],
            "index": index,
            "draw": torch.tensor([draw.seed for draw in draws]),
            "impath": [self.impaths[draw.index] for draw in draws],
        }


def stack_views(views: Sequence[Views]) -> Views:
    """V times `Views` of N rows as one with tensors [V, N, ...]; a single one is not copied."""

    def stack(tensors: list[Tensor | None]) -> Tensor | None:
        if tensors[0] is None:
            return None
        return tensors[0][None] if len(tensors) == 1 else torch.stack(tensors)  # [V, N, ...]

    return Views(
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

    def __init__(self, make: Callable[[], Cache], plan: Sampler[list[Draw]]) -> None:
        self._make, self.plan = make, plan
        self._cache: Cache | None = None

    @property
    def cache(self) -> Cache:
        """The cache, built now if it is not there yet."""
        if self._cache is None:
            self._cache = self._make()
        return self._cache

    def share(self, other: CachedLoader) -> None:
        """Use the cache of another loader of the same images, views, tower and transform."""
        self._cache = other.cache

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        cache = self.cache
        for draws in self.plan:
            yield cache.batch(draws)
