"""Classes that are kept, seen and unseen."""

from __future__ import annotations

import random

import numpy as np
import pytest

from datasets.base.class_split import TABLES, read_class_split
from datasets.coco14 import COCO14
from datasets.files.text_rows import DataFileError, iter_rows
from datasets.nus_wide import NUSWIDE
from tests.helpers.sets.official_sets import make_cfg, write, write_coco2014, write_nus_wide

NAMES = ["person", "stop sign", "toothbrush"]
UNSEEN_17 = (
    "airplane bus cat dog cow elephant umbrella tie snowboard skateboard cup knife cake couch "
    "keyboard sink scissors"
).split()
# Ids among COCO's 80 classes, from 0, of the names that a table has, so that no list is needed.
COCO_IDS = {
    **{"person": 0, "bicycle": 1, "car": 2, "airplane": 4, "bus": 5, "boat": 8, "stop sign": 11},
    **{"bird": 14, "backpack": 24, "frisbee": 29, "snowboard": 31, "surfboard": 37, "cup": 41},
    **{"fork": 42, "spoon": 44, "broccoli": 50, "chair": 56, "keyboard": 66, "microwave": 68},
    **{"vase": 75},
}


def rows_of(table: str) -> dict[str, str]:
    problems: list = []
    rows = [row for _, row in iter_rows(TABLES / f"{table}.txt", problems)]
    assert not problems
    return dict(row.rsplit(" ", 1) for row in rows if not row.startswith("#"))


def test_48_and_17_classes_of_coco():
    rows = rows_of("coco_48_17")
    words = list(rows.values())
    assert (words.count("seen"), words.count("unseen")) == (48, 17)
    assert {name for name, word in rows.items() if word == "unseen"} == set(UNSEEN_17)


def test_16_novel_classes_are_those_that_python_draws():
    rows = rows_of("coco_novel_16")
    base = random.Random(0).sample(range(80), 64)
    assert set(rows.values()) == {"seen"}
    assert [COCO_IDS[name] for name in rows] == sorted(set(range(80)) - set(base))


class TestOfASet:
    @pytest.fixture
    def root(self, tmp_path):
        folder = write_coco2014(tmp_path)
        write(folder / "mine.txt", "# mine\ntoothbrush unseen\nstop_sign seen\n")
        return tmp_path

    def test_training_does_not_see_the_unseen(self, root):
        data = COCO14(make_cfg(root, CLASS_SPLIT="mine"))
        assert data.classnames == ["stop sign", "toothbrush"] and data.seen == [True, False]
        assert [item.label.tolist() for item in data.train_x] == [[1, -1]]
        assert data.class_counts.tolist() == [1, 0]
        assert "training sees the labels of 1 classes alone" in data.describe()
        assert "warning" not in data.describe()

    def test_the_test_shows_any_of_them(self, root):
        write(root / "coco/mine.txt", "toothbrush seen\nperson unseen\n")
        data = COCO14(make_cfg(root, CLASS_SPLIT="mine.txt"))
        assert data.classnames == ["person", "toothbrush"]  # in the order of the label file
        assert [item.label.tolist() for item in data.train_x] == [[-1, 1]]
        assert [item.label.tolist() for item in data.test] == [[1, 0]]
        assert "1 test images without these classes left out" in data.describe()

    def test_few_shots_are_counted_among_the_classes_kept(self, root):
        write(root / "coco/mine.txt", "toothbrush seen\nstop sign seen\n")
        COCO14(make_cfg(root))  # makes the lists
        write(root / "coco/coco14_test.txt", "val2014/a.jpg 1 2\n")
        data = COCO14(make_cfg(root, CLASS_SPLIT="mine", NUM_SHOTS=1))
        assert data.seen is None
        assert np.stack([item.label for item in data.train_x]).tolist() == [[0, 1], [1, 0]]

    def test_partial_labels_and_texts_are_refused(self, root):
        with pytest.raises(ValueError, match="does not go with partial labels"):
            COCO14(make_cfg(root, CLASS_SPLIT="mine", LABEL_PROPORTION=0.5))
        with pytest.raises(ValueError, match="texts would tell of the unseen classes"):
            COCO14(make_cfg(root, CLASS_SPLIT="mine", TEXT_AS_IMAGE=True))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("person seen\ntooth brush seen\n", "line 2: .*Did you mean 'toothbrush'"),
            ("person seen\nstop sign unsen\n", "line 2: .*Did you mean 'unseen'"),
            ("person seen\nperson unseen\n", "line 2: .*named before"),
            ("person\n", "line 1: .*expected a class and seen or unseen"),
            ("# none\n", "no class is seen"),
        ],
    )
    def test_a_damaged_file(self, tmp_path, text, message):
        write(tmp_path / "split.txt", text)
        with pytest.raises(DataFileError, match=f"split.txt.*\n.*{message}"):
            read_class_split("split", str(tmp_path), NAMES)

    def test_an_absent_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="CLASS_SPLIT.*Did you mean 'coco_48_17'"):
            read_class_split("coco_48_71", str(tmp_path), NAMES)


def test_tags_are_seen_and_concepts_are_not(tmp_path):
    write_nus_wide(tmp_path)
    data = NUSWIDE(make_cfg(tmp_path, CLASS_SPLIT="nus_wide_925_81"))
    assert data.classnames == ["nature", "blue", "birds", "sky", "zebra"]
    assert data.seen == [True, True, False, False, False]
    # The third image has no tag that is seen: it is left out.
    assert [item.label.tolist() for item in data.train_x] == [
        [1, 0, -1, -1, -1],
        [0, 1, -1, -1, -1],
    ]
    assert [item.label.tolist() for item in data.test] == [[0, 1, 1, 0, 0]]
    assert len(NUSWIDE(make_cfg(tmp_path)).classnames) == 3  # the concepts' own lists beside it
