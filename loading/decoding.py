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

from common.threads import threads
from loading.samplers import ImageDataset, Sample

BATCHES_AHEAD = 3  # decoded and waiting
CPU_BATCH = 8  # pictures a forward pass on a CPU
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


def map_batches(
    function: Callable[[Job], Result], batches: Iterable[Job], device: torch.device
) -> Iterator[Result]:
    """Results of forward passes, in the order of their batches.

    On a CPU each core passes a batch of its own: cores that share the work on one batch wait for
    each other many times a batch, and for long where the machine has other work, too. Batches of
    `CPU_BATCH` pictures, whose activations fit the caches, serve best there: with a ViT-B/16 twice
    as many pictures a second as 64 at once.

    Args:
        function: one batch to its result; on a CPU called by several threads.
        batches: drawn as they are needed, by the calling thread.
        device: where the function computes.
    """
    if device.type != "cpu":
        yield from map(function, batches)
        return
    cores = torch.get_num_threads()
    with threads(1):
        yield from ordered_map(function, batches, cores, cores)


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
    examples = ordered_map(images.__getitem__, samples, cores(), BATCHES_AHEAD * batch_size)
    while batch := [example["img"] for example in islice(examples, batch_size)]:
        joined = torch.stack(batch)  # [B, 3, H, W]
        yield joined.pin_memory() if pin else joined
