"""VOC 2007 from annotations in the official format, and the real archive where it is at hand."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from datasets.files.list_files import ListEntry
from datasets.files.text_rows import DataFileError
from datasets.official.voc import NAMES, TEST_LABELS, labels_digest, read_voc2007
from datasets.voc07 import VOC07
from tests.helpers.sets.official_sets import make_cfg, write, write_voc2007

DATA = Path(os.environ.get("LMPT_REAL_DATA", "data"))  # holds voc/


def labels(items) -> list[dict[str, float]]:
    """What is not absent in each image."""
    return [{NAMES[c]: item.label[c] for c in np.flatnonzero(item.label)} for item in items]


@pytest.fixture
def root(tmp_path):
    write_voc2007(tmp_path)
    return tmp_path


class TestDifficult:
    def test_absent_by_default(self, root):
        data = VOC07(make_cfg(root))
        assert labels(data.train_x) == [{"chair": 1}, {"car": 1}, {"horse": 1, "person": 1}]
        assert labels(data.test) == [{"dog": 1}, {"train": 1}]
        assert data.test[0].impath == str(root / "voc/VOCdevkit/VOC2007/JPEGImages/000001.jpg")
        assert data.classnames[10] == "dining table"

    def test_ignored(self, root):
        data = VOC07(make_cfg(root, DIFFICULT="ignore"))
        assert labels(data.train_x)[0] == {"chair": 1, "sofa": -1}
        assert labels(data.test) == [{"dog": 1, "person": -1}, {"train": 1}]
        assert data.class_counts[NAMES.index("sofa")] == 0
        assert "2 labels of difficult objects alone are ignored" in data.describe()

    def test_present(self, root):
        data = VOC07(make_cfg(root, DIFFICULT="positive"))
        assert labels(data.train_x)[0] == {"chair": 1, "sofa": 1}
        assert labels(data.test)[0] == {"dog": 1, "person": 1}
        assert data.class_counts[NAMES.index("sofa")] == 1

    def test_rules_are_checked(self, root):
        with pytest.raises(ValueError, match="DIFFICULT.*Did you mean 'ignore'"):
            VOC07(make_cfg(root, DIFFICULT="ignored"))


class TestLists:
    def test_they_are_made_once(self, root):
        VOC07(make_cfg(root))
        for path in root.rglob("*.xml"):
            path.unlink()
        assert len(VOC07(make_cfg(root)).train_x) == 3

    def test_a_lost_one_needs_the_annotations_again(self, root):
        VOC07(make_cfg(root))
        (root / "voc/voc07_test_difficult.txt").unlink()
        (root / "voc/VOCdevkit/VOC2007/Annotations/000002.xml").unlink()
        with pytest.raises(FileNotFoundError, match=r"voc07_test_difficult\.txt(.|\n)*000002\.xml"):
            VOC07(make_cfg(root))

    def test_nothing_is_there(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"prepare_data\.py voc07"):
            VOC07(make_cfg(tmp_path))


def test_the_digest_of_labels():
    entries = [ListEntry("a.jpg", (0, 19), 1), ListEntry("b.jpg", (), 2)]
    text = "1" + ",-1" * 18 + ",1\n" + "-1" + ",-1" * 19 + "\n"
    assert labels_digest(entries) == hashlib.sha256(text.encode()).hexdigest()


class TestDamage:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("<annotation>\n<object>\n<name>sofaa</name></object></annotation>", "line 2.*'sofa'"),
            (
                "<annotation>\n\n<object><name>sofa</name><difficult>2</difficult></object>"
                "</annotation>",
                "line 3: '2': difficult must be 0 or 1",
            ),
            ("<annotation>\n<object>", "line 2: not XML"),
            ("<html></html>", "line 1: expected an annotation, got 'html'"),
            ('<!DOCTYPE a [\n<!ENTITY b "c">]><annotation>&b;</annotation>', "line 2: declares"),
        ],
    )
    def test_an_annotation(self, root, text, message):
        write(root / "voc/VOCdevkit/VOC2007/Annotations/000007.xml", text)
        with pytest.raises(DataFileError, match=f"000007.xml.*\n.*{message}"):
            read_voc2007(root / "voc")

    def test_a_list(self, root):
        write(root / "voc/VOCdevkit/VOC2007/ImageSets/Main/test.txt", "000001\n../000002\n")
        with pytest.raises(DataFileError, match=r"test\.txt.*\n.*line 2: '../000002'"):
            read_voc2007(root / "voc")


def test_the_real_archive():
    if not (DATA / "voc/VOCdevkit/VOC2007/ImageSets/Main/trainval.txt").is_file():
        pytest.skip(f"VOC 2007 is not in {DATA}; set LMPT_REAL_DATA to the folder that holds voc")
    data = read_voc2007(DATA / "voc")
    assert {split: len(entries) for split, entries in data.splits.items()} == {
        "train": 5011,
        "test": 4952,
    }
    counts = {s: sum(len(e.labels) for e in entries) for s, entries in data.splits.items()}
    assert counts == {"train": 7306, "test": 7013}
    assert sum(len(entry.labels) for entry in data.difficult["test"]) == 619
    assert labels_digest(data.splits["test"]) == TEST_LABELS
