"""Unpacking archives that may be hostile or broken."""

from __future__ import annotations

import os
import tarfile

import pytest

from scripts.data.unpack_archive import unpack
from tests.helpers.sets.small_archives import (
    tar,
    zipped,
)


class TestUnpack:
    @pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "C:\\x", "..\\x"])
    @pytest.mark.parametrize("pack", [tar, zipped])
    def test_no_path_leads_out(self, tmp_path, pack, name):
        (tmp_path / "a").write_bytes(pack({"good": b"1", name: b"2"}))
        with pytest.raises(ValueError, match="elsewhere"):
            unpack(tmp_path / "a", tmp_path / "in", lambda _: True)
        assert [p.name for p in tmp_path.iterdir()] == ["a"]

    def test_links_are_left_out(self, tmp_path):
        with tarfile.open(tmp_path / "a", "w") as archive:
            link = tarfile.TarInfo("link")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(link)
        assert unpack(tmp_path / "a", tmp_path / "in", lambda _: True) == 0
        assert not (tmp_path / "in").exists()

    @pytest.mark.parametrize("pack", [tar, zipped])
    def test_a_damaged_archive(self, tmp_path, pack):
        content = pack({"one": os.urandom(5000), "two": os.urandom(5000)})
        (tmp_path / "a").write_bytes(content[:3000])
        with pytest.raises(ValueError, match="damaged"):
            unpack(tmp_path / "a", tmp_path / "in", lambda _: True)
        assert not list(tmp_path.rglob("*.part*"))
