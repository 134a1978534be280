"""Telling what of a data set is there."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from scripts import prepare_data
from scripts.data.check import check
from scripts.data.sources import voc_lt
from scripts.data.standard_sources import SOURCES
from tests.helpers.sets.small_archives import (
    TEST,
    TRAIN,
    prepared,
    states,
)

DATA = Path(os.environ.get("LMPT_REAL_DATA", "data"))  # folder that holds voc/ and coco/


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
