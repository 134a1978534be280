"""Fetching and checking of VOC-LT and COCO-LT, with small archives and a server on this machine."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from dassl.config import get_cfg_default
from PIL import Image

from datasets.list_files import DataFileError, ListEntry, read_list
from datasets.longtail import extend_cfg
from datasets.voc_lt import VOCLT
from scripts import prepare_data
from scripts.data_check import Row, check
from scripts.data_fetch import Preparation, instructions, readable_size
from scripts.data_sources import SOURCES, Archive, Facts, Published, coco_lt, voc_lt
from scripts.unpack_archive import unpack
from scripts.voc_annotations import differences, entries_from_annotations
from tests.local_server import serve

DATA = Path(os.environ.get("LMPT_REAL_DATA", "data"))  # folder that holds voc/ and coco/
TRAIN, TEST = "VOCdevkit/VOC2012/JPEGImages", "VOCdevkit/VOC2007/JPEGImages"
NAMES = ["aeroplane", "cow", "diningtable"]
LISTS = {
    "voc_labels.txt": "aeroplane 0\r\ncow 1 \r\ndiningtable 2\r\n",
    "voc_lt_train.txt": f"{TRAIN}/2008_1.jpg 0 1\n{TRAIN}/2008_2.jpg 2 \n{TRAIN}/2008_3.jpg 0\n",
    "voc_lt_test.txt": f"{TEST}/000001.jpg 1\n{TEST}/000002.jpg 2 0\n",
    "voc_lt_captions.txt": "".join(f"{TRAIN}/2008_{i}.jpg a cow\n" for i in (1, 2, 3)),
}


def jpeg(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6), (shade, 0, 0)).save(file, "JPEG")
    return file.getvalue()


def annotation(*objects: tuple[str, int]) -> bytes:
    inner = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult>"
        "<part><name>head</name></part></object>"
        for name, difficult in objects
    )
    return f"<annotation><filename>x</filename>{inner}</annotation>".encode()


def tar(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def archives() -> dict[str, bytes]:
    train = {f"{TRAIN}/2008_{i}.jpg": jpeg(i) for i in range(1, 6)}
    test = {f"{TEST}/00000{i}.jpg": jpeg(10 * i) for i in range(1, 4)}
    notes = {
        "000001": annotation(("cow", 1), ("cow", 0)),
        "000002": annotation(("diningtable", 0), ("aeroplane", 1)),
    }
    test |= {f"VOCdevkit/VOC2007/Annotations/{i}.xml": note for i, note in notes.items()}
    test["VOCdevkit/VOC2007/ImageSets/Main/test.txt"] = b"000001\n000002\n"
    return {"train.tar": tar(train), "test.zip": zipped(test), "more.tar": tar({"more.txt": b"x"})}


def small_source(server, files: dict[str, bytes], singles: str = ""):
    """VOC-LT, shrunk; `files` are what the server has."""

    def published(name: str) -> Published:
        content = files[name]
        algorithm = hashlib.sha256 if name.endswith(".txt") else hashlib.md5
        return Published(server.url(name), len(content), algorithm(content).hexdigest())

    keeps = ("VOCdevkit/VOC2007/Annotations", "VOCdevkit/VOC2007/ImageSets/Main/test.txt")
    return replace(
        voc_lt(),
        files={name: published(name) for name in LISTS},
        archives=(
            Archive(published("train.tar"), TRAIN, singles=singles),
            Archive(published("test.zip"), TEST, keeps),
            Archive(published("more.tar")),
        ),
        facts=Facts(3, 2, 4, 3, {"tail": 3}),
    )


@pytest.fixture
def files() -> dict[str, bytes]:
    return {name: text.encode() for name, text in LISTS.items()} | archives()


def states(rows: list[Row]) -> dict[str, str]:
    return {row.item: row.state for row in rows}


def prepared(folder: Path, files: dict[str, bytes], **options):
    with serve(files) as server:
        source = small_source(server, files)
        assert Preparation(source, folder, **options).run() == []
    return source, server


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


class TestCheck:
    def test_an_empty_folder(self, tmp_path):
        rows = check(voc_lt(), tmp_path)
        assert states(rows)["voc_lt_train.txt"] == states(rows)["train pictures"] == "absent"
        assert states(rows)["class_freq.pkl"] == "optional"

    def test_changes_are_noticed(self, tmp_path, files):
        source, _ = prepared(tmp_path, files)
        path = tmp_path / "voc_lt_train.txt"
        text = path.read_text()
        path.write_bytes(text.replace("\n", "\r\n").encode())
        assert states(check(source, tmp_path))["voc_lt_train.txt"] == "ok"  # line endings
        path.write_text(text.replace("2008_1.jpg 0 1", "2008_1.jpg 0"))
        (tmp_path / TRAIN / "2008_1.jpg").write_bytes(b"")
        (tmp_path / TEST / "000001.jpg").unlink()
        captions = tmp_path / "voc_lt_captions.txt"
        captions.write_text(captions.read_text().replace("2008_2", "2009_2"))
        found = states(check(source, tmp_path))
        assert found["voc_lt_train.txt"] == found["train list"] == "wrong"
        assert found["captions"] == "incomplete" and found["voc_lt_captions.txt"] == "wrong"
        assert found["train pictures"] == "wrong" and found["test pictures"] == "incomplete"
        assert found["voc_lt_test.txt"] == "ok"

    def test_groups(self, tmp_path, files):
        source, _ = prepared(tmp_path, files)
        source = replace(source, facts=replace(source.facts, groups={"head": 1, "tail": 2}))
        assert states(check(source, tmp_path))["groups"] == "wrong"

    def test_a_list_that_cannot_be_read(self, tmp_path, files):
        source, _ = prepared(tmp_path, files)
        (tmp_path / "voc_lt_test.txt").write_text("a.jpg 77\n")
        found = states(check(source, tmp_path))
        assert found["voc_lt_test.txt"] == "wrong" and found["test pictures"] == "absent"

    @pytest.mark.parametrize("dataset", SOURCES)
    def test_the_real_files(self, dataset, capsys):
        source = SOURCES[dataset]()
        folder = DATA / source.layout.folder
        lists = {"train": source.layout.train_list, "test": source.layout.test_list}
        if not (folder / lists["train"]).exists():
            pytest.skip(f"{folder} is absent; set LMPT_REAL_DATA to the folder with voc and coco")
        rows = {row.item: row for row in check(source, folder)}
        for name in {*source.files, "groups", "class counts", "captions"} & set(rows):
            assert rows[name].good, rows[name]
        for split, listed in (("train", source.facts.train), ("test", source.facts.test)):
            text = (folder / lists[split]).read_text()
            present = sum((folder / line.split()[0]).is_file() for line in text.splitlines())
            assert rows[f"{split} pictures"].detail == f"{present:,} of {listed:,}"
        code = prepare_data.main([dataset, "--root", str(DATA), "--check"])
        assert code == int(not all(row.good for row in rows.values()))
        assert f"{present:,} of {source.facts.test:,}" in capsys.readouterr().out


class TestAnnotations:
    def test_difficult_objects_count_and_parts_do_not(self, tmp_path, files):
        prepared(tmp_path, files)
        entries = entries_from_annotations(tmp_path, NAMES)
        assert entries == read_list(tmp_path / "voc_lt_test.txt", 3)

    def test_differences_are_named(self):
        old = [
            ListEntry("a.jpg", (0, 1), 1),
            ListEntry("b.jpg", (), 2),
            ListEntry("c.jpg", (2,), 3),
        ]
        new = [
            ListEntry("a.jpg", (1, 0), 1),
            ListEntry("b.jpg", (2,), 2),
            ListEntry("d.jpg", (), 3),
        ]
        assert differences(old, new, NAMES) == [
            "c.jpg: only in the published list",
            "d.jpg: not in the published list",
            "b.jpg: published nothing; annotated diningtable",
        ]

    @pytest.mark.parametrize(
        ("content", "rule"), [(b"<annotation>", "not XML"), (annotation(("cat", 0)), "class")]
    )
    def test_bad_files_are_named(self, tmp_path, content, rule):
        folder = tmp_path / "VOCdevkit/VOC2007/Annotations"
        folder.mkdir(parents=True)
        (folder / "000001.xml").write_bytes(content)
        with pytest.raises(DataFileError, match=rf"000001\.xml(?s:.*){rule}"):
            entries_from_annotations(tmp_path, NAMES)

    def test_absent(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="VOCtest_06-Nov-2007"):
            entries_from_annotations(tmp_path, NAMES)


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


def test_published_numbers():
    voc, coco = voc_lt(), coco_lt()
    assert [a.file.name for a in voc.archives] == [
        "VOCtrainval_11-May-2012.tar",
        "VOCtest_06-Nov-2007.tar",
        "VOCtrainval_06-Nov-2007.tar",
    ]
    for source in (voc, coco):
        assert set(source.files) == {
            source.layout.train_list,
            source.layout.test_list,
            source.layout.labels,
            source.layout.captions,
            source.layout.class_freq,
        }
        assert all(len(file.checksum) == 64 for file in source.files.values())
        assert all(len(archive.file.checksum) == 32 for archive in source.archives)
    assert [readable_size(size) for size in (19336861798, 929, 252907541)] == [
        "19.3 GB",
        "0.9 kB",
        "0.3 GB",
    ]
