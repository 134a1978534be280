"""The command line of scripts/prepare_data.py."""

from __future__ import annotations

import pytest

from scripts import prepare_data
from tests.helpers.local_server import serve
from tests.helpers.sets.small_archives import (
    LISTS,
    annotation,
    small_source,
)


class TestCommand:
    def run(self, source, monkeypatch, *words: str) -> int:
        monkeypatch.setitem(prepare_data.SOURCES, "voc-lt", lambda: source)
        return prepare_data.main(["voc-lt", *words])

    def test_prepare_check_compare(self, tmp_path, files, monkeypatch, capsys):
        root = ["--root", str(tmp_path)]
        with serve(files) as server:
            source = small_source(server, files)
            assert self.run(source, monkeypatch, *root, "--check") == 1
            assert server.asked == [] and not list(tmp_path.iterdir())
            assert self.run(source, monkeypatch, *root) == 0
        assert self.run(source, monkeypatch, *root, "--check") == 0
        assert self.run(source, monkeypatch, *root, "--from-annotations") == 0
        out = capsys.readouterr().out
        assert "2 of 2" in out and "0 of 2 images differ" in out
        rebuilt = tmp_path / "voc" / prepare_data.REBUILT_LIST
        assert rebuilt.read_text() == LISTS["voc_lt_test.txt"]
        (tmp_path / "voc/VOCdevkit/VOC2007/Annotations/000001.xml").write_bytes(annotation())
        assert self.run(source, monkeypatch, *root, "--from-annotations") == 1
        assert "published cow; annotated nothing" in capsys.readouterr().out

    def test_offline(self, tmp_path, files, monkeypatch, capsys):
        with serve(files) as server:
            source = small_source(server, files)
        assert self.run(source, monkeypatch, "--root", str(tmp_path)) == 1
        assert "6 file(s) could not be fetched" in capsys.readouterr().out

    @pytest.mark.parametrize(
        "words", [["coco-lt", "--from-annotations"], ["voc-lt", "--check", "--all"]]
    )
    def test_flags_that_do_not_fit(self, words, tmp_path, capsys):
        with pytest.raises(SystemExit):
            prepare_data.main([*words, "--root", str(tmp_path)])
        assert "use it" in capsys.readouterr().err
