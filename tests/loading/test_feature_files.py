from __future__ import annotations

import multiprocessing
import os
import re
import signal

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from loading.cache import feature_files, unfinished_files
from loading.cache.feature_cache import FeatureCache, as_index_tensor
from loading.cache.feature_files import CannotStoreError, FeatureFile
from loading.samplers import Sample
from modeling.encoders.features import Features
from tests.helpers.models.small_features import (
    CPU,
    KEY,
    D,
    N,
    R,
    V,
    encode_into,
    features,
    refuse,
    same,
    write_from,
)

PATIENCE = 60  # seconds after which a process that should go on is taken to hang
STATED = {**KEY, "format": "2", "shape": "2 views, 7 images"}
CHECKSUMS = ["crc32 of global_features", "crc32 of local_features"]


@pytest.fixture
def file(tmp_path):
    return FeatureFile(tmp_path / "below" / "cache", "Set-train-ViT-B/16", KEY, V, N)


def reopened(file, **changes):
    return FeatureFile(file.path.parent, "Set-train-ViT-B/16", {**KEY, **changes}, V, N)


@pytest.mark.parametrize(("local", "mask"), [(False, False), (True, False), (True, True)])
def test_what_was_stored_is_what_was_encoded(file, local, mask):
    source = features(local, mask)
    assert file.read(CPU) is None
    made, new = file.make(lambda write: write_from(source, write), CPU)
    assert new and torch.equal(made.global_features, source.global_features)
    if local:
        assert made.local_features.dtype is torch.float16
        assert (made.local_features.float() - source.local_features).abs().max() < 5e-4
    assert mask is (made.mask is not None) and (not mask or torch.equal(made.mask, source.mask))
    assert same(reopened(file).read(CPU), made)  # bit for bit


def test_the_file_is_safetensors_that_states_its_contents(file):
    file.make(encode_into, CPU)
    assert file.path.name.startswith("Set-train-ViT-B-16-")
    assert load_file(file.path)["local_features"].shape == (V, N, R, D)
    with safe_open(file.path, framework="pt") as opened:
        checksums = {name: opened.metadata().pop(name) for name in CHECKSUMS}
        assert all(re.fullmatch("[0-9a-f]{8}", checksum) for checksum in checksums.values())
        assert opened.metadata() == {**STATED, **checksums}
    assert [path.name for path in file.path.parent.iterdir()] == [file.path.name]


def test_another_key_or_shape_is_another_file(file):
    others = [
        file,
        reopened(file, files="abd"),
        reopened(file, more=""),
        FeatureFile(file.path.parent, "Set-train-ViT-B/16", KEY, V, N + 1),
    ]
    assert len({other.path for other in others}) == len(others)


def damage(path, how):
    good = load_file(path)
    with safe_open(path, framework="pt") as opened:
        metadata = opened.metadata()
    if how == "truncated":
        os.truncate(path, path.stat().st_size - 100)
    elif how == "empty":
        os.truncate(path, 0)
    elif how == "garbage":
        path.write_bytes(os.urandom(4096))
    elif how.startswith("flipped"):
        content = bytearray(path.read_bytes())
        start = 8 + int.from_bytes(content[:8], "little")
        content[start if "first" in how else -1] ^= 1 if "first" in how else 128
        path.write_bytes(content)
    elif how == "no checksums":
        save_file(good, path, STATED)
    elif how == "pipe":
        path.unlink()
        os.mkfifo(path)
    elif how == "other names":
        save_file({"features": good["global_features"]}, path, metadata)
    elif how == "other shape":
        save_file({"global_features": good["global_features"][:, :-1].clone()}, path, metadata)
    elif how == "other type":
        save_file({"global_features": good["global_features"].double()}, path, metadata)
    elif how == "other contents":
        save_file(good, path, {**metadata, "files": "abd"})


@pytest.mark.parametrize(
    "how",
    [
        *("truncated", "empty", "garbage", "flipped first bit", "flipped last bit", "no checksums"),
        *("pipe", "other names", "other shape", "other type", "other contents"),
    ],
)
def test_a_damaged_file_is_made_again(file, how, capsys):
    good, _ = file.make(encode_into, CPU)
    damage(file.path, how)
    again = reopened(file)
    assert again.read(CPU) is None
    told = capsys.readouterr().out
    assert str(file.path) in told and "is damaged" in told and "encoding again" in told
    made, new = again.make(encode_into, CPU)
    assert new and same(made, good) and same(reopened(file).read(CPU), good)


def test_large_local_features_stay_in_the_file(file, monkeypatch):
    in_memory, _ = file.make(encode_into, CPU)
    monkeypatch.setattr(feature_files, "MMAP_FROM_BYTES", 10)
    mapped = reopened(file).read(CPU)
    assert same(mapped, in_memory)
    other = file.path.with_suffix(".other")
    other.write_bytes(b"a new file under the name leaves the old one be")
    os.replace(other, file.path)
    samples = [Sample(6, 1), Sample(0, 0), Sample(3, 1)]
    batches = [
        FeatureCache(views, torch.zeros(N, 2), ["x"] * N).batch(
            samples, as_index_tensor(samples, CPU)
        )["features"]
        for views in (mapped, in_memory)
    ]
    assert same(*batches) and batches[0].local_features.dtype is torch.float32


def test_mapped_rows_are_read_when_they_are_needed(file, monkeypatch):
    """Changing the bytes of an unread row in place shows in the tensor: nothing was copied."""
    monkeypatch.setattr(feature_files, "MMAP_FROM_BYTES", 10)
    mapped, _ = file.make(encode_into, CPU)
    last = mapped.local_features[-1, -1, -1, -1].item()
    with open(file.path, "r+b") as opened:
        opened.seek(-2, os.SEEK_END)
        opened.write(torch.tensor([last + 1]).half().numpy().tobytes())
    assert mapped.local_features[-1, -1, -1, -1].item() == pytest.approx(last + 1, abs=1e-2)


def test_an_error_while_encoding_leaves_nothing(file):
    def fail(write):
        write(0, 0, Features(torch.zeros(3, D)))
        raise ValueError("a broken picture")

    with pytest.raises(ValueError, match="a broken picture"):
        file.make(fail, CPU)
    assert list(file.path.parent.iterdir()) == []


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_full_disk_is_reported_and_leaves_nothing(file, call, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(feature_files.os, call, full)
    with pytest.raises(CannotStoreError, match="No space left"):
        file.make(encode_into, CPU)
    assert list(file.path.parent.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").touch()
    file = FeatureFile(tmp_path / "file", "Set", KEY, V, N)
    assert file.read(CPU) is None
    with pytest.raises(CannotStoreError):
        file.make(encode_into, CPU)


@pytest.mark.parametrize("reason", ["no module", "no locks"])
def test_without_locks_each_run_writes_a_part_of_its_own(file, reason, monkeypatch):
    if reason == "no module":
        monkeypatch.setattr(unfinished_files, "fcntl", None)
    else:

        def no_locks(*_):
            raise OSError(38, "Function not implemented")

        monkeypatch.setattr(unfinished_files.fcntl, "flock", no_locks)

    def while_another_writes(write):
        encode_into(write)
        if not file.path.exists():
            reopened(file).make(encode_into, CPU)

    made, new = file.make(while_another_writes, CPU)
    assert new and same(reopened(file).read(CPU), made)
    assert len(list(file.path.parent.glob("*.safetensors"))) == 1


@pytest.mark.skipif(unfinished_files.fcntl is None, reason="without locks nobody waits")
class TestSeveralProcesses:
    """Forked, for starting Python anew takes seconds.

    Semaphores tell how far each has come, for a killed process leaves nothing of them behind.
    """

    fork = multiprocessing.get_context("fork")

    @pytest.fixture(autouse=True)
    def stages(self, monkeypatch):
        self.encoding, self.waiting, self.may_go_on = (self.fork.Semaphore(0) for _ in range(3))
        monkeypatch.setattr(unfinished_files, "_POLL", 0.01)
        go_on = unfinished_files._Waiting.go_on

        def told(waiting, file):
            if waiting.seen is None:
                self.waiting.release()
            go_on(waiting, file)

        monkeypatch.setattr(unfinished_files._Waiting, "go_on", told)

    def start(self, file, log):
        """A process that reads the file or makes it; it encodes when it may go on."""

        def slow(write):
            with open(log, "a") as opened:
                opened.write("encoding\n")
            self.encoding.release()
            self.may_go_on.acquire()
            encode_into(write)

        def work():
            views = file.read(CPU)
            if views is None:
                views, _ = file.make(slow, CPU)
            expected = features()
            os._exit(0 if torch.equal(views.global_features, expected.global_features) else 1)

        process = self.fork.Process(target=work, daemon=True)
        process.start()
        return process

    def test_the_second_waits_for_the_first(self, file, tmp_path):
        log = tmp_path / "log"
        processes = [self.start(reopened(file), log) for _ in range(3)]
        assert self.encoding.acquire(timeout=PATIENCE)
        assert all(self.waiting.acquire(timeout=PATIENCE) for _ in range(2))
        self.may_go_on.release()
        for process in processes:
            process.join(PATIENCE)
        assert [process.exitcode for process in processes] == [0, 0, 0]
        assert log.read_text().splitlines() == ["encoding"]
        assert [path.name for path in file.path.parent.iterdir()] == [file.path.name]

    def test_a_killed_writer_leaves_no_file_and_blocks_nobody(self, file, tmp_path):
        log = tmp_path / "log"
        killed = self.start(reopened(file), log)
        assert self.encoding.acquire(timeout=PATIENCE)
        waiting = self.start(reopened(file), log)
        assert self.waiting.acquire(timeout=PATIENCE)
        os.kill(killed.pid, signal.SIGKILL)
        killed.join(PATIENCE)
        assert self.encoding.acquire(timeout=PATIENCE)  # the other one has begun
        assert not file.path.exists()
        self.may_go_on.release()
        waiting.join(PATIENCE)
        assert waiting.exitcode == 0 and log.read_text().count("encoding") == 2
        assert torch.equal(file.read(CPU).global_features, features().global_features)

    def test_what_a_killed_writer_left_is_written_over(self, file):
        part = file.path.with_suffix(".part")
        part.parent.mkdir(parents=True)
        part.write_bytes(b"half a file" * 1000)
        assert file.read(CPU) is None
        made, new = file.make(encode_into, CPU)
        assert new and same(reopened(file).read(CPU), made) and not part.exists()

    def test_a_stopped_writer_is_named_and_not_waited_for(self, file, tmp_path, monkeypatch):
        stopped = self.start(reopened(file), tmp_path / "log")
        assert self.encoding.acquire(timeout=PATIENCE)
        os.kill(stopped.pid, signal.SIGSTOP)
        monkeypatch.setattr(unfinished_files, "PATIENCE", 0.05)
        try:
            assert file.read(CPU) is None
            with pytest.raises(CannotStoreError, match=f"process {stopped.pid} on .* nothing for"):
                file.make(refuse, CPU)
        finally:
            os.kill(stopped.pid, signal.SIGCONT)
        self.may_go_on.release()
        stopped.join(PATIENCE)
        assert stopped.exitcode == 0 and file.read(CPU) is not None

    def test_a_link_in_the_place_of_the_part_is_not_followed(self, file, tmp_path):
        (tmp_path / "mine").write_text("mine")
        part = file.path.with_suffix(".part")
        part.parent.mkdir(parents=True)
        part.symlink_to(tmp_path / "mine")
        with pytest.raises(CannotStoreError):
            file.make(encode_into, CPU)
        assert (tmp_path / "mine").read_text() == "mine"
