from __future__ import annotations

import threading
import time

import pytest
import torch
from torch.utils.data import DataLoader

from loading.decoding import cores, decoded, ordered_map
from loading.samplers import ImageDataset, SequentialBatchSampler
from loading.transforms import fixed_transform, split_at_pixels
from tests.helpers.sets.small_pictures import SIZE, read, write_pictures


@pytest.fixture
def pictures(tmp_path):
    return write_pictures(tmp_path)


def test_results_come_in_order_however_long_they_take():
    done = [threading.Event() for _ in range(20)]

    def every_other_one_last(job):
        assert job % 2 or done[job + 1].wait(timeout=60)
        done[job].set()
        return job

    assert list(ordered_map(every_other_one_last, range(20), threads=4, ahead=3)) == list(range(20))


def test_only_so_many_jobs_are_drawn_ahead():
    indices = []

    def jobs():
        for i in range(20):
            indices.append(i)
            yield i

    results = ordered_map(lambda job: job, jobs(), threads=2, ahead=3)
    assert next(results) == 0 and len(indices) == 4
    assert next(results) == 1 and len(indices) == 5


def test_an_error_comes_out_and_ends_the_threads():
    started = []

    def fail_at_first(job):
        started.append(job)
        if job == 0:
            raise ValueError("job 0")
        time.sleep(0.1)  # so that 100 of them would take five seconds

    before = threading.active_count()
    with pytest.raises(ValueError, match="job 0"):
        list(ordered_map(fail_at_first, range(200), threads=2, ahead=100))
    assert threading.active_count() == before and len(started) < 100


def test_threads_decode_what_a_data_loader_decodes(pictures):
    transform, _ = split_at_pixels(fixed_transform((24, 24), "crop", "bicubic", None, None))
    images = ImageDataset(pictures, read, transform)
    expected = [
        batch["img"] for batch in DataLoader(images, batch_sampler=SequentialBatchSampler(SIZE, 4))
    ]
    batches = list(decoded(images, 4))
    assert len(batches) == 3 and batches[0].dtype is torch.uint8
    assert all(torch.equal(a, b) for a, b in zip(batches, expected, strict=True))


def test_a_broken_picture_is_named(pictures):
    with open(pictures[9].impath, "wb") as file:
        file.write(b"not a picture")
    images = ImageDataset(pictures, read, lambda picture: torch.zeros(3, 2, 2))
    with pytest.raises(RuntimeError, match="9.png"):
        list(decoded(images, 4))


def test_there_is_a_core():
    assert cores() >= 1
