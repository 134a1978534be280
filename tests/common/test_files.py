from __future__ import annotations

import os
import socket
import stat
import threading

import pytest

from common.files import (
    IrregularFileError,
    open_regular,
    read_whole,
    remove_leftovers,
    replacing,
    write_text,
    write_whole,
)


def test_a_file_is_written_with_its_folders(tmp_path):
    path = tmp_path / "a" / "b" / "c.txt"
    write_text(path, "größer\n")
    assert path.read_bytes() == "größer\n".encode()
    assert [p.name for p in path.parent.iterdir()] == ["c.txt"]


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "c.txt"
    write_text(path, "old")

    def fail(file):
        file.write(b"new")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_whole(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_reaches_the_disk_before_its_name_does(tmp_path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace

    def synced(number):
        calls.append("folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file")
        fsync(number)

    def replaced(source, target):
        calls.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    with replacing(tmp_path / "x") as temporary:
        temporary.write_bytes(b"1")
    assert calls == ["file", "rename", "folder"]


def test_written_files_have_the_permissions_of_ordinary_ones(tmp_path):
    (tmp_path / "ordinary").write_text("")
    write_text(tmp_path / "whole", "")
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_leftovers_of_killed_writers_are_removed_and_nothing_else(tmp_path):
    kept = [tmp_path / name for name in ("a.tmp", ".hidden", ".x.tmp", "model.pth.tar-3")]
    for path in kept:
        path.touch()
    left = tmp_path / ".config.yaml.4711.tmp"
    left.touch()
    assert remove_leftovers(tmp_path) == [left]
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    assert remove_leftovers(tmp_path / "absent") == []


def irregular(kind, path):
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind(str(path))
    else:
        path.symlink_to("/dev/zero")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("kind", ["pipe", "folder", "socket", "device"])
def test_what_is_no_file_is_refused_at_once(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the names of sockets must be short
    path = tmp_path / "x"
    irregular(kind, path.relative_to(tmp_path))
    found = []

    def read():
        try:
            read_whole(path)
        except IrregularFileError as error:
            found.append(str(error))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(20)
    name = {"pipe": "named pipe"}.get(kind, kind)
    assert found == [f"{path} is a {name}, expected a file."]


def test_regular_files_are_read_also_through_links(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    assert read_whole(tmp_path / "link") == b"abc"
    with open_regular(tmp_path / "file") as file:
        assert file.read(1) == b"a"
    with pytest.raises(FileNotFoundError):
        read_whole(tmp_path / "absent")
