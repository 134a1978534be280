"""Fetching VOC-LT and COCO-LT from small archives on a server on this machine."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from dassl.config import get_cfg_default

from datasets.base.long_tail_dataset import extend_cfg
from datasets.voc_lt import VOCLT
from scripts.data.check import check
from scripts.data.fetch import Preparation, instructions
from tests.helpers.local_server import serve
from tests.helpers.sets.small_archives import (
    LISTS,
    TEST,
    TRAIN,
    jpeg,
    prepared,
    small_source,
)


class TestPrepare:
    def test_all_that_the_lists_name_and_nothing_else(self, tmp_path, files):
        source, _ = prepared(tmp_path / "voc", files)
        rows = check(source, tmp_path / "voc")
        assert all(row.good for row in rows), rows
        assert sorted(p.name for p in (tmp_path / "voc" / TRAIN).iterdir()) == [
            "2008_1.jpg",
            "2008_2.jpg",
            "2008_3.jpg",
        ]
        assert not (tmp_path / "voc" / TEST / "000003.jpg").exists()
        assert not (tmp_path / "voc" / "more.txt").exists()
        cfg = get_cfg_default()
        extend_cfg(cfg)
        cfg.DATASET.ROOT = str(tmp_path)
        data = VOCLT(cfg)
        assert (len(data.train_x), len(data.test), data.captions[0]) == (3, 2, ["a cow"])

    def test_a_second_run_asks_nobody(self, tmp_path, files):
        prepared(tmp_path, files)
        _, server = prepared(tmp_path, files)
        assert server.asked == []

    def test_removed_archives_are_not_missed_and_a_removed_picture_is(self, tmp_path, files):
        prepared(tmp_path, files)
        (tmp_path / "downloads" / "train.tar").unlink()
        (tmp_path / "downloads" / "test.zip").unlink()
        (tmp_path / TEST / "000002.jpg").unlink()
        _, server = prepared(tmp_path, files)
        assert [name for name, _ in server.asked] == ["test.zip"]
        assert (tmp_path / TEST / "000002.jpg").read_bytes() == jpeg(20)

    @pytest.mark.parametrize("everything", [False, True])
    def test_a_damaged_picture_is_replaced_and_ones_own_is_kept(self, tmp_path, files, everything):
        (tmp_path / TEST).mkdir(parents=True)
        (tmp_path / TEST / "000001.jpg").write_bytes(b"")
        (tmp_path / TEST / "000002.jpg").write_bytes(jpeg(99))
        prepared(tmp_path, files, everything=everything)
        assert (tmp_path / TEST / "000001.jpg").read_bytes() == jpeg(10)
        assert (tmp_path / TEST / "000002.jpg").read_bytes() == jpeg(99)

    def test_all_keeps_everything_once(self, tmp_path, files):
        prepared(tmp_path, files, everything=True)
        assert (tmp_path / TEST / "000003.jpg").exists() and (tmp_path / "more.txt").exists()
        for path in (tmp_path / "downloads").glob("*.[tz][ai][rp]"):
            path.unlink()
        _, server = prepared(tmp_path, files, everything=True)
        assert server.asked == []

    def test_a_broken_transfer_goes_on(self, tmp_path, files):
        with serve(files, breaks={"train.tar"}) as server:
            assert Preparation(small_source(server, files), tmp_path).run() == []
        half = len(files["train.tar"]) // 2
        assert [start for name, start in server.asked if name == "train.tar"] == [0, half]

    def test_other_bytes_are_refused(self, tmp_path, files):
        with serve(files | {"train.tar": files["train.tar"][:-1] + b"x"}) as server:
            with pytest.raises(ValueError, match="MD5"):
                Preparation(small_source(server, files), tmp_path).run()
        assert not (tmp_path / TRAIN).exists()

    def test_offline_all_is_told_and_files_placed_by_hand_are_used(self, tmp_path, files):
        with serve(files) as server:
            source = small_source(server, files)
        failures = Preparation(source, tmp_path).run()  # the server is gone
        text = instructions(failures)
        for archive in source.archives[:2]:
            assert archive.file.url in text and archive.file.checksum in text
            assert str(tmp_path / "downloads" / archive.file.name) in text
        for name in LISTS:
            assert f"to     {tmp_path / name}\n" in text
        assert "more.tar" not in text
        for failure in failures:
            failure.place.write_bytes(files[failure.place.name])
        assert Preparation(source, tmp_path).run() == []
        assert all(row.good for row in check(source, tmp_path))

    def test_an_absent_file_does_not_silence_its_host(self, tmp_path, files):
        with serve({k: v for k, v in files.items() if k != "voc_lt_captions.txt"}) as server:
            failures = Preparation(small_source(server, files), tmp_path).run()
        assert [failure.file.name for failure in failures] == ["voc_lt_captions.txt"]
        assert "404" in failures[0].reason
        assert (tmp_path / TEST / "000001.jpg").exists()

    def test_a_full_disk_is_told_before(self, tmp_path, files, monkeypatch):
        monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=5))
        with serve(files) as server, pytest.raises(OSError, match="needs"):
            Preparation(small_source(server, files), tmp_path).run()
        assert server.asked == []


class TestSingles:
    """Pictures that are published one by one, as COCO's are."""

    @pytest.fixture
    def singles(self, files):
        return files | {f"one/2008_{i}.jpg": jpeg(i) for i in range(1, 6)}

    def test_instead_of_the_archive(self, tmp_path, singles):
        with serve(singles, breaks={"one/2008_2.jpg"}) as server:
            source = small_source(server, singles, server.url("one"))
            assert Preparation(source, tmp_path).run() == []
        asked = [name for name, _ in server.asked]
        assert "train.tar" not in asked and asked.count("one/2008_2.jpg") == 2
        assert (tmp_path / TRAIN / "2008_2.jpg").read_bytes() == jpeg(2)
        assert all(row.good for row in check(source, tmp_path))

    def test_an_archive_that_is_there_is_used(self, tmp_path, singles):
        (tmp_path / "downloads").mkdir()
        (tmp_path / "downloads" / "train.tar").write_bytes(singles["train.tar"])
        with serve(singles) as server:
            source = small_source(server, singles, server.url("one"))
            assert Preparation(source, tmp_path).run() == []
        assert not any(name.startswith("one/") for name, _ in server.asked)
        assert (tmp_path / TRAIN / "2008_1.jpg").exists()

    @pytest.mark.parametrize("content", [None, b"<html>", jpeg(3)[:-300]])
    def test_what_is_no_picture_takes_no_place(self, tmp_path, singles, content):
        served = {name: body for name, body in singles.items() if name != "one/2008_3.jpg"}
        served |= {"one/2008_3.jpg": content} if content else {}
        with serve(served) as server:
            source = small_source(server, singles, server.url("one"))
            failures = Preparation(source, tmp_path).run()
        assert [failure.file.name for failure in failures] == ["train.tar"]
        assert "one/2008_3.jpg" in failures[0].reason
        assert not (tmp_path / TRAIN / "2008_3.jpg").exists()
        urls = Path(re.search(r"-i (\S+)", failures[0].hint).group(1))
        assert server.url("one/2008_3.jpg") in urls.read_text().split()
