"""Resumed, checked downloads, against a server on this machine."""

from __future__ import annotations

import hashlib

import pytest

from common.download import download, fetch, file_digest
from tests.helpers.local_server import serve

CONTENT = bytes(range(256)) * 4096
MD5, SHA256 = hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("checksum", [MD5, SHA256])
def test_continues_where_it_stopped(tmp_path, checksum):
    with serve({"file.bin": CONTENT}, breaks={"file.bin"}) as server:
        with pytest.raises(ConnectionError, match="continues"):
            download(server.url("file.bin"), tmp_path / "file.bin", checksum)
        assert not (tmp_path / "file.bin").exists()
        path = download(server.url("file.bin"), tmp_path / "file.bin", checksum)
        assert path.read_bytes() == CONTENT
        download(server.url("file.bin"), tmp_path / "file.bin", checksum)  # asks nobody
    assert server.asked == [("file.bin", 0), ("file.bin", len(CONTENT) // 2)]


def test_a_server_that_cannot_continue_sends_all(tmp_path):
    (tmp_path / "file.bin.part").write_bytes(b"old bytes")
    with serve({"file.bin": CONTENT}, ranges=False) as server:
        path = download(server.url("file.bin"), tmp_path / "file.bin", MD5)
    assert path.read_bytes() == CONTENT


def test_a_part_that_is_whole_is_only_checked(tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    with serve({"file.bin": CONTENT}) as server:
        path = download(server.url("file.bin"), tmp_path / "file.bin", SHA256)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(("checksum", "kind"), [(MD5, "MD5"), (SHA256, "SHA256")])
def test_other_bytes_are_refused(tmp_path, checksum, kind):
    with serve({"file.bin": CONTENT[:-1] + b"x"}) as server:
        with pytest.raises(ValueError, match=f"has {kind} .* thrown away"):
            download(server.url("file.bin"), tmp_path / "file.bin", checksum)
    assert not list(tmp_path.glob("file.bin*[!k]"))  # a lock file may stay


def test_offline_says_which_file_goes_where(tmp_path):
    source = (tmp_path / "absent.tar").as_uri()
    with pytest.raises(ConnectionError) as error:
        download(source, tmp_path / "here" / "file.tar", MD5)
    for word in (source, str(tmp_path / "here" / "file.tar"), f"MD5 is: {MD5}"):
        assert word in str(error.value)


def test_a_checksum_of_no_known_kind(tmp_path):
    with pytest.raises(ValueError, match="SHA256 or an MD5"):
        download("http://localhost/x", tmp_path / "x", "abc")


def test_fetch_tells_when_less_came(tmp_path):
    with serve({"file.bin": CONTENT}, breaks={"file.bin"}) as server:
        with pytest.raises(ConnectionError, match=f"only {len(CONTENT) // 2} of {len(CONTENT)}"):
            fetch(server.url("file.bin"), tmp_path / "part", show=False)
    assert (tmp_path / "part").stat().st_size == len(CONTENT) // 2


def test_file_digest(tmp_path):
    (tmp_path / "x").write_bytes(CONTENT)
    assert file_digest(tmp_path / "x") == SHA256
    assert file_digest(tmp_path / "x", "md5") == MD5
