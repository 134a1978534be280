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
from loading.cache.feature_files import CannotStoreError, FeatureFile
from modeling.encoders.features import Features
from tests.helpers.models.small_features import (
    KEY,
    PICTURES,
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
STATED = {**KEY, "format": "3", "views of each": "2"}
CHECKSUMS = [f"crc32 of {name}" for name in ("global_features", "local_features", "pictures")]


@pytest.fixture
def file(tmp_path):
    return FeatureFile(tmp_path / "below" / "cache" / "0.safetensors", KEY, V)


def reopened(file, **changes):
    return FeatureFile(file.path, {**KEY, **changes}, V)


def make(file, encode_into, **options):
    return file.make(torch.tensor(PICTURES), encode_into, **options)


def stored():
    """The features as a file keeps them."""
    source = features()
    return Features(source.global_features, source.local_features.half())


def read(file):
    """Copies of all that a file holds, checksums compared; None where it cannot be served."""
    tensors = file.open()
    try:
        found = tensors and {name: file.copied(name, t) for name, t in tensors.items()}
    except ValueError as error:
        return file.report(error)
    if found is None:
        return None
    assert torch.equal(found.pop("pictures"), torch.tensor(PICTURES))
    return Features(**found)


@pytest.mark.parametrize(("local", "mask"), [(False, False), (True, False), (True, True)])
def test_what_was_stored_is_what_was_encoded(file, local, mask):
    source = features(local, mask)
    assert read(file) is None
    assert make(file, lambda write: write_from(source, write)) is True
    made = read(file)
    assert torch.equal(made.global_features, source.global_features)
    if local:
        assert made.local_features.dtype is torch.float16
        assert (made.local_features.float() - source.local_features).abs().max() < 5e-4
    assert mask is (made.mask is not None) and (not mask or torch.equal(made.mask, source.mask))
    assert make(file, refuse) is False


def test_the_file_is_safetensors_that_states_its_contents(file):
    make(file, encode_into)
    assert load_file(file.path)["local_features"].shape == (V, N, R, D)
    with safe_open(file.path, framework="pt") as opened:
        checksums = {name: opened.metadata().pop(name) for name in CHECKSUMS}
        assert all(re.fullmatch("[0-9a-f]{8}", checksum) for checksum in checksums.values())
        assert opened.metadata() == {**STATED, **checksums}
    assert [path.name for path in file.path.parent.iterdir()] == [file.path.name]


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
        save_file({**good, "features": good["global_features"].clone()}, path, metadata)
    elif how == "other shape":
        fewer = good["global_features"][:, 1:].clone()
        save_file({**good, "global_features": fewer}, path, metadata)
    elif how == "other type":
        save_file({**good, "global_features": good["global_features"].double()}, path, metadata)
    elif how == "other contents":
        save_file(good, path, {**metadata, "code": "abd"})


@pytest.mark.parametrize(
    "how",
    [
        *("truncated", "empty", "garbage", "flipped first bit", "flipped last bit", "no checksums"),
        *("pipe", "other names", "other shape", "other type", "other contents"),
    ],
)
def test_a_damaged_file_is_made_again(file, how, capsys):
    make(file, encode_into)
    good = read(file)
    damage(file.path, how)
    again = reopened(file)
    assert read(again) is None and not again.path.exists()
    told = capsys.readouterr().out
    assert str(file.path) in told and "is damaged" in told and "encoding again" in told
    assert make(again, encode_into) and same(read(again), good)


def test_an_error_while_encoding_leaves_nothing(file):
    def fail(write):
        write(0, 0, Features(torch.zeros(3, D)))
        raise ValueError("a broken picture")

    with pytest.raises(ValueError, match="a broken picture"):
        make(file, fail)
    assert list(file.path.parent.iterdir()) == []


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_full_disk_is_reported_and_leaves_nothing(file, call, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(feature_files.os, call, full)
    with pytest.raises(CannotStoreError, match="No space left"):
        make(file, encode_into)
    assert list(file.path.parent.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").touch()
    file = FeatureFile(tmp_path / "file" / "0.safetensors", KEY, V)
    assert read(file) is None
    with pytest.raises(CannotStoreError):
        make(file, encode_into)


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
            make(reopened(file), encode_into)

    assert make(file, while_another_writes) and same(read(file), stored())
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
            make(file, slow)
            os._exit(0 if same(read(file), stored()) else 1)

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
        assert same(read(file), stored())

    def test_what_a_killed_writer_left_is_written_over(self, file):
        part = file.path.with_suffix(".part")
        part.parent.mkdir(parents=True)
        part.write_bytes(b"half a file" * 1000)
        assert make(file, encode_into) and same(read(file), stored()) and not part.exists()

    def test_a_stopped_writer_is_named_and_not_waited_for(self, file, tmp_path, monkeypatch):
        stopped = self.start(reopened(file), tmp_path / "log")
        assert self.encoding.acquire(timeout=PATIENCE)
        os.kill(stopped.pid, signal.SIGSTOP)
        monkeypatch.setattr(unfinished_files, "PATIENCE", 0.05)
        try:
            assert make(file, refuse, wait=False) is None
            with pytest.raises(CannotStoreError, match=f"process {stopped.pid} on .* nothing for"):
                make(file, refuse)
        finally:
            os.kill(stopped.pid, signal.SIGCONT)
        self.may_go_on.release()
        stopped.join(PATIENCE)
        assert stopped.exitcode == 0 and read(file) is not None

    def test_a_link_in_the_place_of_the_part_is_not_followed(self, file, tmp_path):
        (tmp_path / "mine").write_text("mine")
        part = file.path.with_suffix(".part")
        part.parent.mkdir(parents=True)
        part.symlink_to(tmp_path / "mine")
        with pytest.raises(CannotStoreError):
            make(file, encode_into)
        assert (tmp_path / "mine").read_text() == "mine"
