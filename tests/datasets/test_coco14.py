"""COCO 2014 from instances in the official format."""

from __future__ import annotations

import json

import numpy as np
import pytest

from datasets.coco14 import COCO14
from datasets.files.text_rows import DataFileError
from datasets.official.coco import names_of_2017, read_coco2014
from tests.helpers.sets.official_sets import coco_instances, make_cfg, write, write_coco2014


@pytest.fixture
def root(tmp_path):
    write_coco2014(tmp_path)
    return tmp_path


def test_labels_in_the_order_of_categories_and_images(root):
    data = COCO14(make_cfg(root))
    assert data.classnames == ["person", "stop sign", "toothbrush"]
    assert np.stack([item.label for item in data.train_x]).tolist() == [
        [1, 0, 1],  # a crowd is present
        [0, 0, 0],
        [0, 1, 0],
    ]
    assert [item.label.tolist() for item in data.test] == [[1, 0, 0], [0, 0, 0]]
    assert data.train_x[0].impath.endswith("train2014/COCO_train2014_000000057870.jpg")


def test_images_without_labels_are_dropped_on_demand(root):
    data = COCO14(make_cfg(root, UNLABELED="drop"))
    assert (len(data.train_x), len(data.test)) == (2, 1)
    assert "1 train images without labels left out" in data.describe()


def test_the_mask_of_hcp_counts_images_that_are_dropped(root):
    settings = {"LABEL_PROPORTION": 0.5, "LABEL_MASK": "hcp"}
    drawn = np.random.RandomState(0).random_sample((3, 3)) < 0.5
    expected = np.where(drawn, [[1, 0, 1], [0, 0, 0], [0, 1, 0]], -1)
    found = {
        rule: [i.label.tolist() for i in COCO14(make_cfg(root, UNLABELED=rule, **settings)).train_x]
        for rule in ("keep", "drop")
    }
    assert found == {"keep": expected.tolist(), "drop": expected[[0, 2]].tolist()}
    with pytest.raises(ValueError, match=r"must end in \.npz or be hcp.*Did you mean 'hcp'"):
        COCO14(make_cfg(root, LABEL_PROPORTION=0.5, LABEL_MASK="hpc"))


def test_no_object_is_difficult_here(root):
    with pytest.raises(ValueError, match="COCO14 marks no object as difficult"):
        COCO14(make_cfg(root, DIFFICULT="ignore"))


def test_pictures_of_2017_serve(root):
    assert names_of_2017("train2014/COCO_train2014_000000000009.jpg") == (
        "train2017/000000000009.jpg",
        "val2017/000000000009.jpg",
    )
    for path in (
        "train2014/COCO_train2014_000000000009.jpg",
        "train2017/000000000009.jpg",
        "train2017/000000057870.jpg",
        "val2017/000000000030.jpg",
        "val2014/COCO_val2014_000000000042.jpg",
        "val2014/COCO_val2014_000000000073.jpg",
    ):
        write(root / "coco" / path, "")
    cfg = make_cfg(root, TRAIN_PICTURES=True, TEST_PICTURES=True)
    data = COCO14(cfg)
    assert [item.impath.removeprefix(str(root / "coco/")) for item in data.train_x] == [
        "/train2017/000000057870.jpg",
        "/train2014/COCO_train2014_000000000009.jpg",
        "/val2017/000000000030.jpg",
    ]
    assert data.captions == [["image 57870"], ["image 9"], ["image 30"]]  # its own are attached
    (root / "coco/val2017/000000000030.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 3 train pictures(.|\n)*MISSING skip"):
        COCO14(cfg)


class TestDamage:
    @pytest.mark.parametrize(
        ("section", "change", "message"),
        [
            ("images", {"id": 9}, r"images\[1\]': id 9 is repeated"),
            ("images", {"file_name": "../a.jpg"}, r"images\[0\].*no name of a file"),
            ("images", {"id": "9"}, r"images\[0\].*'id' \(integer\) and 'file_name' \(text\)"),
            ("annotations", {"category_id": 2}, r"annotations\[0\].*no category has the id 2"),
            ("annotations", {"image_id": 42}, r"annotations\[0\].*no image has the id 42"),
            ("annotations", {"image_id": True}, r"annotations\[0\].*expected 'image_id' \(integer"),
            ("categories", {"name": "stop sign"}, r"categories\[1\]': its id or its name"),
        ],
    )
    def test_a_record(self, root, section, change, message):
        content = coco_instances("train2014")
        content[section][0].update(change)
        write(root / "coco/annotations/instances_train2014.json", json.dumps(content))
        with pytest.raises(DataFileError, match=rf"instances_train2014\.json(.|\n)*{message}"):
            read_coco2014(root / "coco")

    def test_other_categories_in_the_test_file(self, root):
        content = coco_instances("val2014")
        content["categories"][0]["name"] = "comb"
        write(root / "coco/annotations/instances_val2014.json", json.dumps(content))
        with pytest.raises(DataFileError, match="categories are not those"):
            read_coco2014(root / "coco")

    def test_no_json(self, root):
        write(root / "coco/annotations/instances_val2014.json", '{\n"images": [}')
        with pytest.raises(DataFileError, match="line 2: not valid JSON"):
            read_coco2014(root / "coco")
