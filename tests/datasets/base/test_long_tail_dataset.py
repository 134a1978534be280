from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import datasets
from datasets import list_lt
from datasets.base import long_tail_dataset as longtail
from datasets.base.long_tail_dataset import Layout, LongTailDataset
from datasets.files.text_rows import DataFileError
from datasets.list_lt import ListLT

LABELS = "cat 0\ndining_table 1\nwax_candle 2\nunseen 3\n"
TRAIN = ["a.jpg 0 1", "b.jpg 1", "c c.jpg 1 0", "d.jpg", "e.jpg 2"]
TEST = ["f.jpg 0 3", "g.jpg", "a.jpg 0 1"]
CAPTIONS = ["d.jpg nothing at all", "a.jpg a cat", "x.jpg elsewhere", "a.jpg a cat on a table"]


@pytest.fixture
def root(tmp_path):
    """Return a folder with a small set in `mine`; one image is in both train and test."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, rows in (("train", TRAIN), ("test", TEST), ("captions", CAPTIONS)):
        (folder / f"{name}.txt").write_text("\n".join(rows))
    (folder / "labels.txt").write_text(LABELS)
    for row in TRAIN + TEST:
        name = row.split(".jpg")[0] + ".jpg"
        Image.new("RGB", (12, 10), (200, 30, 90)).save(folder / name)
    return tmp_path


@pytest.fixture
def cfg(root):
    from dassl.config import get_cfg_default  # there once `datasets` is imported

    cfg = get_cfg_default()
    longtail.extend_cfg(cfg)
    list_lt.extend_cfg(cfg)
    cfg.DATASET.NAME = "ListLT"
    cfg.DATASET.ROOT = str(root)
    cfg.DATASET.FOLDER = "mine"
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.DATALOADER.TRAIN_X.BATCH_SIZE = 2
    cfg.INPUT.SIZE = (8, 8)
    return cfg


def test_images_targets_and_classes(cfg, root):
    data = ListLT(cfg)
    assert [item.impath for item in data.train_x][2] == str(root / "mine" / "c c.jpg")
    targets = np.stack([item.label for item in data.train_x])
    assert targets.dtype == np.float32
    expected = [[1, 1, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]
    np.testing.assert_array_equal(targets, expected)
    np.testing.assert_array_equal(
        np.stack([item.label for item in data.test]), [[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 0, 0]]
    )
    assert data.num_classes == 4
    assert data.classnames == ["cat", "dining table", "wax candle", "unseen"]
    assert data.lab2cname == dict(enumerate(data.classnames))
    assert data.class_counts.dtype == np.int64
    np.testing.assert_array_equal(data.class_counts, [2, 3, 1, 0])
    assert data.groups == ["tail"] * 4
    assert data.missing == {"train": 0, "test": 0}
    assert not data.val


def test_groups_follow_the_counts(cfg, root):
    folder = root / "mine"
    rows = ["a.jpg 0 1", *(f"{i}.jpg {0 if i >= 20 else '0 1'}" for i in range(99))]
    for i in range(99):
        (folder / f"{i}.jpg").touch()
    (folder / "train.txt").write_text("\n".join(rows))
    data = ListLT(cfg)
    np.testing.assert_array_equal(data.class_counts, [100, 21, 0, 0])
    assert data.groups == ["head", "medium", "tail", "tail"]


def test_validation_list_is_used_where_it_exists(cfg, root):
    (root / "mine" / "val.txt").write_text("g.jpg 2\nf.jpg")
    data = ListLT(cfg)
    assert [item.label.tolist() for item in data.val] == [[0, 0, 1, 0], [0, 0, 0, 0]]
    assert data.missing == {"train": 0, "val": 0, "test": 0}


def test_dassl_loads_batches(cfg, capsys):
    from dassl.data import DataManager

    manager = DataManager(cfg)
    assert (manager.num_classes, manager.lab2cname[1]) == (4, "dining table")
    batch = next(iter(manager.test_loader))
    assert batch["label"].dtype == torch.float32
    assert batch["label"].tolist() == [[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 0, 0]]
    assert batch["img"].shape == (3, 3, 8, 8)
    assert next(iter(manager.train_loader_x))["label"].shape == (2, 4)
    assert "ListLT in " in capsys.readouterr().out


def test_what_is_not_drawn_cannot_be_drawn_for_each_seed(cfg):
    cfg.DATASET.DRAW = "seed"
    with pytest.raises(ValueError, match="DRAW seed is for ShapesLT.*ListLT has fixed ones"):
        ListLT(cfg)


def test_class_names_can_be_kept_raw(cfg):
    cfg.DATASET.CLASSNAMES = "raw"
    assert ListLT(cfg).classnames[1] == "dining_table"


def test_clean_names_belong_to_the_class(cfg, monkeypatch):
    monkeypatch.setattr(ListLT, "clean_names", {"cat": "house_cat"})
    assert ListLT(cfg).classnames[0] == "house cat"


def test_captions_are_joined_by_path(cfg):
    assert ListLT(cfg).captions == [
        ["a cat", "a cat on a table"],
        [],
        [],
        ["nothing at all"],
        [],
    ]


def test_captions_of_the_users_choice(cfg, root):
    (root / "mine" / "official.json").write_text(
        '{"images": [{"id": 1, "file_name": "c.jpg"}],'
        ' "annotations": [{"image_id": 1, "caption": "x"}]}'
    )
    cfg.DATASET.CAPTIONS = "official.json"
    with pytest.raises(ValueError, match=r"begin with 'c\.jpg', those of the list with 'a\.jpg'"):
        ListLT(cfg)
    (root / "mine" / "train.txt").write_text("a.jpg 1\nsub/c.jpg 0")
    (root / "mine" / "sub").mkdir()
    (root / "mine" / "sub" / "c.jpg").touch()
    cfg.DATASET.CAPTIONS_PREFIX = "sub"
    assert ListLT(cfg).captions == [[], ["x"]]
    cfg.DATASET.CAPTIONS = str(root / "none.json")
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.json"):
        ListLT(cfg)


def test_without_a_caption_file_there_are_no_captions(cfg, root):
    (root / "mine" / "captions.txt").unlink()
    data = ListLT(cfg)
    assert data.captions is None
    assert "captions: none" in data.describe()


def test_absent_pictures_are_an_error(cfg, root):
    for name in ("a.jpg", "e.jpg"):
        (root / "mine" / name).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        ListLT(cfg)
    message = str(caught.value)
    assert "ListLT: 2 of 5 train pictures, 1 of 3 test pictures are absent" in message
    assert str(root / "mine" / "e.jpg") in message
    assert "DATASET.MISSING skip" in message


def test_absent_pictures_can_be_skipped_and_classes_are_recounted(cfg, root):
    for name in ("a.jpg", "e.jpg"):
        (root / "mine" / name).unlink()
    cfg.DATASET.MISSING = "skip"
    data = ListLT(cfg)
    assert [Path(item.impath).name for item in data.train_x] == ["b.jpg", "c c.jpg", "d.jpg"]
    assert data.missing == {"train": 2, "test": 1}
    assert data.captions == [[], [], ["nothing at all"]]
    assert data.num_classes == 4
    np.testing.assert_array_equal(data.class_counts, [1, 2, 0, 0])
    (root / "mine" / "d.jpg").unlink()  # the last picture with a caption
    assert ListLT(cfg).captions == [[], []]


def test_a_split_without_any_picture_is_an_error_all_the_same(cfg, root):
    for picture in (root / "mine").glob("*.jpg"):
        picture.unlink()
    cfg.DATASET.MISSING = "skip"
    with pytest.raises(FileNotFoundError, match="None is left for train and test"):
        ListLT(cfg)


def test_a_validation_list_without_pictures_is_not_passed_over(cfg, root):
    (root / "mine" / "val.txt").write_text("h.jpg 2")
    cfg.DATASET.MISSING = "skip"
    with pytest.raises(FileNotFoundError, match=r"1 of 1 val pictures(.|\n)*None is left for val"):
        ListLT(cfg)


def test_published_counts_are_compared_class_by_class(cfg, root):
    class Published(LongTailDataset):
        def __init__(self, cfg):
            names = ("mine", "train.txt", "test.txt", "labels.txt")
            super().__init__(cfg, Layout(*names, class_freq="class_freq.pkl"))

    path = root / "mine" / "class_freq.pkl"
    Published(cfg)  # the file is optional
    path.write_bytes(pickle.dumps({"class_freq": np.array([2, 3, 1, 0])}, 2))
    Published(cfg)
    (root / "mine" / "e.jpg").unlink()  # the whole list is compared, not the pictures at hand
    cfg.DATASET.MISSING = "skip"
    np.testing.assert_array_equal(Published(cfg).class_counts, [2, 3, 0, 0])
    path.write_bytes(pickle.dumps({"class_freq": np.array([2, 4, 1, 9])}, 2))
    with pytest.raises(DataFileError) as caught:
        Published(cfg)
    message = str(caught.value)
    assert "2 problems" in message
    assert "'dining_table': 4 published, 3 in the training list" in message
    assert "'unseen': 9 published, 0 in the training list" in message
    assert "remove this file to go by the list" in message
    path.write_bytes(pickle.dumps({"class_freq": np.array([2, 3])}, 2))
    with pytest.raises(DataFileError, match="2 counts for 4 classes"):
        Published(cfg)


def test_summary(cfg, root):
    assert ListLT(cfg).describe().splitlines() == [
        f"ListLT in {root / 'mine'}",
        "  4 classes (head 0, medium 0, tail 4), 0 to 3 training images each",
        "  train: 5 images, 1.20 labels per image, 1 without labels",
        "  test: 3 images, 1.33 labels per image, 1 without labels",
        "  warning: 1 images are in both train and test",
        "  captions: 3 for 2 of 5 training images, none for 3",
        "  warning: 1 classes have no training image",
    ]


def test_splits_of_the_same_images_are_told(cfg, root):
    for split in ("val", "test"):
        rows = "\n".join(row.replace("a.jpg", "./a.jpg") for row in TRAIN)
        (root / "mine" / f"{split}.txt").write_text(rows)
    lines = ListLT(cfg).describe().splitlines()
    assert [line for line in lines if "in both" in line] == [
        f"  warning: 5 images are in both {pair}, which are the same images"
        for pair in ("train and val", "train and test", "val and test")
    ]


def test_summary_is_printed_unless_quiet(cfg, capsys):
    cfg.VERBOSE = False
    ListLT(cfg)
    assert "classes (head" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("MISSING", "skipp", "must be one of error, skip, got 'skipp'. Did you mean 'skip'?"),
        ("CLASSNAMES", "Clean", "must be one of clean, raw, got 'Clean'. Did you mean 'clean'?"),
        ("VAL_FRACTION", 1.0, "DATASET.VAL_FRACTION must be in [0, 1), got 1.0"),
        ("VAL_FRACTION", -0.1, "DATASET.VAL_FRACTION must be in [0, 1), got -0.1"),
        ("LABEL_PROPORTION", 0.0, "DATASET.LABEL_PROPORTION must be in (0, 1], got 0.0"),
        ("LABEL_PROPORTION", 1.1, "DATASET.LABEL_PROPORTION must be in (0, 1], got 1.1"),
        ("LABEL_MASK", "mask.npz", "DATASET.LABEL_MASK is given but unused"),
    ],
)
def test_settings_are_checked(cfg, key, value, message):
    cfg.DATASET[key] = value
    with pytest.raises(ValueError) as caught:
        ListLT(cfg)
    assert message in str(caught.value)


def test_a_wrong_root_is_named(cfg, root):
    cfg.DATASET.ROOT = str(root / "elsewhere")
    with pytest.raises(FileNotFoundError) as caught:
        ListLT(cfg)
    assert f"not found in {root / 'elsewhere' / 'mine'}, which is not a folder" in str(caught.value)


def test_an_empty_folder_name_is_the_root(cfg, root):
    cfg.DATASET.ROOT, cfg.DATASET.FOLDER = str(root / "mine"), ""
    assert len(ListLT(cfg).train_x) == 5


def test_sets_are_discovered():
    from dassl.data.datasets import DATASET_REGISTRY

    assert {"VOCLT", "COCOLT", "ListLT"} <= set(DATASET_REGISTRY.registered_names())


def test_a_broken_module_is_named_and_skipped(tmp_path):
    package = tmp_path / "broken_sets"
    package.mkdir()
    shutil.copy(datasets.__file__, package / "__init__.py")
    (package / "fine.py").write_text("print('fine is imported')")
    (package / "poor.py").write_text("raise LookupError('poor is broken')")
    root = Path(datasets.__file__).parents[1]
    code = f"import sys; sys.path[:0] = [{str(root)!r}, {str(tmp_path)!r}]; import broken_sets"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "fine is imported" in run.stdout
    assert run.returncode == 0, run.stderr
    assert "broken_sets/poor.py (line 1: LookupError: poor is broken)" in run.stderr
