"""Decoding in threads, ahead of the encoder."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor

from loading.samplers import ImageDataset, Sample

_BATCHES_AHEAD = 3  # decoded and waiting
Job = TypeVar("Job")
Result = TypeVar("Result")


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ordered_map(
    function: Callable[[Job], Result], jobs: Iterable[Job], threads: int, ahead: int
) -> Iterator[Result]:
    """Map a function over jobs in threads; results come in the order of the jobs.

    Args:
        function: one job to its result.
        jobs: taken as they are needed, by the calling thread.
        threads: jobs worked on at once.
        ahead: results that may wait to be used.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for job in jobs:
                waiting.append(pool.submit(function, job))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # after an error nobody wants the rest
            pool.shutdown(wait=False, cancel_futures=True)


def decoded(images: ImageDataset, batch_size: int, pin: bool = False) -> Iterator[Tensor]:
    """Decode every image once, in list order, on all cores ahead of its use.

    Threads serve better than processes: Pillow decodes and resizes outside Python's lock, and
    pixels need not be copied from one process to another.

    Args:
        images: with a transform that uses no random numbers.
        batch_size: B.
        pin: whether to put batches into pinned memory, from where a GPU copies without waiting.

    Yields:
        Tensors [B, 3, H, W] of the transform's type; the last may be smaller.
    """
    samples = (Sample(i) for i in range(len(images)))
    examples = ordered_map(images.__getitem__, samples, cores(), _BATCHES_AHEAD * batch_size)
    while batch := [example["img"] for example in islice(examples, batch_size)]:
        joined = torch.stack(batch)  # [B, 3, H, W]
        yield joined.pin_memory() if pin else joined
