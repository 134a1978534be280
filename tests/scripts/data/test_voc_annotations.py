"""Rows of VOC-LT's test list from annotation files."""

from __future__ import annotations

import pytest

from datasets.files.list_files import ListEntry, read_list
from datasets.files.text_rows import DataFileError
from scripts.data.voc_annotations import differences, entries_from_annotations
from tests.helpers.sets.small_archives import (
    NAMES,
    annotation,
    prepared,
)


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
