"""Features of a list in several files, of several writers."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal

import numpy as np
import pytest
import torch

from loading.cache import feature_files, feature_shards, unfinished_files
from loading.cache.feature_cache import FeatureCache, as_index_tensor
from loading.cache.feature_rows import MappedRows
from loading.cache.feature_shards import INDEX, FeatureShards, places_of
from loading.samplers import Sample
from modeling.encoders.features import Features
from tests.helpers.models.small_features import (
    CPU,
    KEY,
    PICTURES,
    N,
    V,
    digests,
    encode_places,
    features,
    refuse,
    same,
)

SAMPLES = [Sample(6, 1), Sample(0, 0), Sample(3, 1), Sample(3, 0)]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(feature_shards, "SHARD", 3)


@pytest.fixture
def mapped(monkeypatch):
    monkeypatch.setattr(feature_files, "MMAP_FROM_BYTES", 10)


@pytest.fixture
def shards(tmp_path):
    return lambda: FeatureShards(tmp_path / "set", KEY, V)


def stored():
    source = features()
    return Features(source.global_features, source.local_features.half())


def batch(found):
    cache = FeatureCache(found, torch.zeros(N, 2), ["x"] * N)
    return cache.batch(SAMPLES, as_index_tensor(SAMPLES, CPU))["features"]


def files(shards):
    return sorted(shards.folder.glob("*.safetensors"))


def test_a_list_is_read_as_one_in_any_order(shards):
    assert shards().read(PICTURES, CPU) is None
    assert shards().fill(PICTURES, encode_places) == N and len(files(shards())) == 3
    assert same(shards().read(PICTURES, CPU), stored())
    order = np.array([5, 0, 6])  # a choice of them, as a few shots of each class are
    found = shards().read(PICTURES[order], CPU)
    assert torch.equal(found.local_features, stored().local_features[:, order])
    assert shards().fill(PICTURES, refuse) == 0


def test_large_sets_stay_in_the_files(shards, mapped):
    shards().fill(PICTURES, encode_places)
    found = shards().read(PICTURES, CPU)
    assert isinstance(found.global_features, MappedRows)
    assert found.local_features.shape == stored().local_features.shape
    assert same(batch(found), batch(stored()))


def test_rows_are_read_when_they_are_needed(shards, mapped):
    """Changing the bytes of an unread row in place shows in the next batch: nothing was copied."""
    shards().fill(PICTURES, encode_places)
    found = shards().read(PICTURES, CPU)
    before = batch(found).global_features
    path = next(p for p in files(shards()) if before[0].numpy().tobytes() in p.read_bytes())
    content = path.read_bytes()
    with open(path, "r+b") as opened:
        opened.seek(content.index(before[0].numpy().tobytes()))
        opened.write((2 * before[0]).numpy().tobytes())
    assert torch.equal(batch(found).global_features[0], 2 * before[0])


@pytest.mark.parametrize("large", [False, True])
def test_a_damaged_shard_alone_is_encoded_again(shards, large, monkeypatch, capsys):
    monkeypatch.setattr(feature_files, "MMAP_FROM_BYTES", 10 if large else 1 << 30)
    shards().fill(PICTURES, encode_places)
    path = files(shards())[1]
    content = bytearray(path.read_bytes())
    content[-130] ^= 1  # among the regions, before the pictures
    path.write_bytes(content)
    assert shards().read(PICTURES, CPU) is None
    assert f"{path} is damaged" in capsys.readouterr().out
    assert shards().fill(PICTURES, encode_places) in (1, 3)  # those of that shard
    assert same(batch(shards().read(PICTURES, CPU)), batch(stored()))


def test_maps_are_compared_once(shards, mapped, monkeypatch):
    shards().fill(PICTURES, encode_places)
    shards().read(PICTURES, CPU)
    index = json.loads((shards().folder / INDEX).read_text())
    assert sorted(index) == [path.name for path in files(shards())]
    assert sum(entry["pictures"] for entry in index.values()) == N
    monkeypatch.setattr(feature_shards, "_damage", refuse)
    assert shards().read(PICTURES, CPU) is not None
    os.utime(files(shards())[0])  # it was written to, for all that one can know
    with pytest.raises(AssertionError):
        shards().read(PICTURES, CPU)


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}'])
def test_a_damaged_index_costs_only_time(shards, mapped, text):
    shards().fill(PICTURES, encode_places)
    (shards().folder / INDEX).write_text(text)
    assert same(batch(shards().read(PICTURES, CPU)), batch(stored()))


@pytest.mark.skipif(unfinished_files.fcntl is None, reason="without locks nobody waits")
class TestSeveralWriters:
    """Forked, for starting Python anew takes seconds."""

    fork = multiprocessing.get_context("fork")

    def start(self, work):
        process = self.fork.Process(target=work, daemon=True)
        process.start()
        return process

    def test_they_share_the_work(self, shards, monkeypatch):
        """Each waits, in its first shard, until both have begun."""
        monkeypatch.setattr(unfinished_files, "_POLL", 0.01)
        begun, made = self.fork.Barrier(2), self.fork.Queue()

        def work():
            waited = []

            def encode(places, write):
                if not waited:
                    waited.append(begun.wait(60))
                encode_places(places, write)

            made.put(shards().fill(PICTURES, encode))

        processes = [self.start(work) for _ in range(2)]
        counts = [made.get(timeout=60) for _ in processes]
        for process in processes:
            process.join(60)
        assert sum(counts) == N and min(counts) > 0
        assert same(shards().read(PICTURES, CPU), stored())

    def test_a_killed_writer_leaves_its_finished_shards(self, shards):
        encoding = self.fork.Semaphore(0)

        def work():
            def encode(places, write):
                encode_places(places, write)
                if 3 in places:  # in the middle of the second shard
                    encoding.release()
                    signal.pause()

            shards().fill(PICTURES, encode)

        process = self.start(work)
        assert encoding.acquire(timeout=60)
        os.kill(process.pid, signal.SIGKILL)
        process.join(60)
        assert len(files(shards())) == 1
        assert shards().fill(PICTURES, encode_places) == N - 3
        assert same(shards().read(PICTURES, CPU), stored())


def test_places_are_those_of_a_search_one_by_one():
    held = digests(*np.random.default_rng(0).permutation(50)[:30])
    wanted = digests(*range(50))
    slow = [next((i for i, h in enumerate(held) if (h == w).all()), -1) for w in wanted]
    assert places_of(wanted, held).tolist() == slow
    assert places_of(wanted, held[:0]).tolist() == [-1] * 50
