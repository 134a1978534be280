"""Features of the frozen image tower, computed once for every view that training can draw."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler
from tqdm import tqdm

from modeling.data_path import FLIPPED, Draw
from modeling.views import Views


class FeatureCache:
    """Global features [V, N, D] of V views of N images, on the device that trains.

    With a frozen tower in eval mode a feature depends on its picture and its view alone, so looking
    it up is what encoding would give, whatever the batch.

    Args:
        features: [V, N, D], L2-normalised, fp32; view 0 is the plain image, view 1 the flipped.
        labels: [N, C] targets (or [N] class indices).
        impaths: N paths.
    """

    def __init__(self, features: Tensor, labels: Tensor, impaths: Sequence[str]) -> None:
        self.features, self.labels, self.impaths = features, labels, impaths

    @classmethod
    def build(
        cls,
        encode: Callable[[Tensor], Views],
        loader: Iterable[dict[str, Any]],
        views: int,
        device: torch.device,
        title: str,
    ) -> FeatureCache:
        """Encode the views of every image.

        Args:
            encode: images [B, 3, H, W] on the device to `Views`; called without gradients.
            loader: every image once, plain, in list order, under a deterministic transform.
            views: 1 for plain images, 2 for plain and flipped ones.
            device: where features end up.
            title: label of the progress bar.
        """
        columns: list[list[Tensor]] = [[] for _ in range(views)]
        labels: list[Tensor] = []
        impaths: list[str] = []
        with torch.no_grad():
            for batch in tqdm(loader, desc=title, leave=False):
                images = batch["img"].to(device, non_blocking=True)  # [B, 3, H, W]
                for view in range(views):
                    shown = images.flip(-1) if view == FLIPPED else images
                    columns[view].append(encode(shown).global_features)
                labels.append(batch["label"])
                impaths.extend(batch["impath"])
        features = torch.stack([torch.cat(column) for column in columns])  # [V, N, D]
        return cls(features, torch.cat(labels).to(device), impaths)

    def __len__(self) -> int:
        return self.features.shape[1]

    def batch(self, draws: Sequence[Draw]) -> dict[str, Any]:
        """The batch that decoding and encoding these draws would lead to."""
        index = torch.tensor([draw.index for draw in draws])
        view = torch.tensor([draw.view for draw in draws])
        rows = index.to(self.features.device)
        return {
            "views": Views(self.features[view.to(rows.device), rows]),  # [B, D]
            "label": self.labels[rows],
            "index": index,
            "draw": torch.tensor([draw.seed for draw in draws]),
            "impath": [self.impaths[draw.index] for draw in draws],
        }


class CachedLoader:
    """Iterates batches of cached features in the order of a plan.

    The cache is made on first use, so that an evaluation never encodes the training images.

    Args:
        make: builds the cache.
        plan: yields lists of draws.
    """

    def __init__(self, make: Callable[[], FeatureCache], plan: Sampler[list[Draw]]) -> None:
        self._make, self.plan = make, plan
        self._cache: FeatureCache | None = None

    @property
    def cache(self) -> FeatureCache:
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
