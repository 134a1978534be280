"""Which items make up a batch."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sized

import numpy as np
from torch.utils.data import RandomSampler, Sampler, SequentialSampler
from yacs.config import CfgNode


class _DomainSampler(Sampler):
    """Batches with equally many items of several domains; ends when one of them runs short.

    Args:
        data_source: items with a `domain`.
        batch_size: items per batch, divisible by the number of domains.
        n_domain: domains per batch; below 1: all.
    """

    def __init__(self, data_source: Sized, batch_size: int, n_domain: int = 0) -> None:
        self.by_domain = defaultdict(list)
        for index, item in enumerate(data_source):
            self.by_domain[item.domain].append(index)
        self.n_domain = n_domain if n_domain and n_domain > 0 else len(self.by_domain)
        if batch_size % self.n_domain:
            raise ValueError(
                f"batch_size={batch_size} must be divisible by {self.n_domain} domains"
            )
        self.n_items = batch_size // self.n_domain
        self.length = len(list(iter(self)))

    def choose_domains(self) -> list[int]:
        """Domains of the next batch."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[int]:
        left = {domain: list(indices) for domain, indices in self.by_domain.items()}
        chosen: list[int] = []
        while all(len(indices) >= self.n_items for indices in left.values()):
            for domain in self.choose_domains():
                picked = random.sample(left[domain], self.n_items)
                chosen.extend(picked)
                left[domain] = sorted(set(left[domain]) - set(picked))
        return iter(chosen)

    def __len__(self) -> int:
        return self.length


class RandomDomainSampler(_DomainSampler):
    """Each batch draws its domains at random."""

    def choose_domains(self) -> list[int]:
        """Domains of the next batch."""
        return random.sample(list(self.by_domain), self.n_domain)


class SeqDomainSampler(_DomainSampler):
    """Each batch has all domains, in order."""

    def choose_domains(self) -> list[int]:
        """Domains of the next batch."""
        return sorted(self.by_domain)


class RandomClassSampler(Sampler):
    """Each batch has `batch_size // n_ins` classes with `n_ins` items each.

    Args:
        data_source: items whose `label` is a class index.
        batch_size: items per batch.
        n_ins: items per class; classes with fewer are drawn with repetition.

    Raises:
        ValueError: A batch is smaller than `n_ins` or wants more classes than there are.
    """

    def __init__(self, data_source: Sized, batch_size: int, n_ins: int) -> None:
        if batch_size < n_ins:
            raise ValueError(f"batch_size={batch_size} must be no less than n_ins={n_ins}")
        self.n_ins = n_ins
        self.n_classes = batch_size // n_ins
        self.by_label = defaultdict(list)
        for index, item in enumerate(data_source):
            self.by_label[item.label].append(index)
        if len(self.by_label) < self.n_classes:
            raise ValueError(
                f"A batch of {batch_size} with n_ins={n_ins} needs {self.n_classes} classes, "
                f"the data set has {len(self.by_label)}"
            )
        self.length = len(list(iter(self)))

    def __iter__(self) -> Iterator[int]:
        groups = {label: self._groups(indices) for label, indices in self.by_label.items()}
        chosen: list[int] = []
        while len(groups) >= self.n_classes:
            for label in random.sample(list(groups), self.n_classes):
                chosen.extend(groups[label].pop())
                if not groups[label]:
                    del groups[label]
        return iter(chosen)

    def _groups(self, indices: list[int]) -> list[list[int]]:
        """The items of one class, shuffled and cut into groups of `n_ins`; a rest is left out."""
        if len(indices) < self.n_ins:
            indices = np.random.choice(indices, size=self.n_ins, replace=True).tolist()
        shuffled = random.sample(indices, len(indices))
        whole = len(shuffled) - len(shuffled) % self.n_ins
        return [shuffled[start : start + self.n_ins] for start in range(0, whole, self.n_ins)]

    def __len__(self) -> int:
        return self.length


def build_sampler(
    sampler_type: str,
    cfg: CfgNode | None = None,
    data_source: Sized | None = None,
    batch_size: int = 32,
    n_domain: int = 0,
    n_ins: int = 16,
) -> Sampler:
    """The sampler of that name.

    Args:
        sampler_type: RandomSampler | SequentialSampler | RandomDomainSampler | SeqDomainSampler |
            RandomClassSampler.
        cfg: not used; part of Dassl's signature.
        data_source: items to sample from.
        batch_size: items per batch.
        n_domain: domains per batch, for RandomDomainSampler.
        n_ins: items per class, for RandomClassSampler.

    Raises:
        ValueError: unknown name.
    """
    samplers = {
        "RandomSampler": lambda: RandomSampler(data_source),
        "SequentialSampler": lambda: SequentialSampler(data_source),
        "RandomDomainSampler": lambda: RandomDomainSampler(data_source, batch_size, n_domain),
        "SeqDomainSampler": lambda: SeqDomainSampler(data_source, batch_size),
        "RandomClassSampler": lambda: RandomClassSampler(data_source, batch_size, n_ins),
    }
    if sampler_type not in samplers:
        raise ValueError(f"Unknown sampler type: {sampler_type}; choose from {[*samplers]}")
    return samplers[sampler_type]()
