"""Few shots, validation hold-out and partial labels of a set on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.groups import group_of
from datasets import list_lt
from datasets.base import long_tail_dataset as longtail
from datasets.list_lt import ListLT


@pytest.fixture
def cfg(tmp_path):
    """60 training images, the last of which alone shows class 3, and three for test."""
    from dassl.config import get_cfg_default  # there once `datasets` is imported

    rng = np.random.default_rng(0)
    labels = rng.random((60, 4)) < (0.7, 0.4, 0.2, 0)
    labels[59] = (True, False, False, True)
    rows = [" ".join([f"{i}.jpg", *map(str, np.flatnonzero(row))]) for i, row in enumerate(labels)]
    (tmp_path / "train.txt").write_text("\n".join(rows))
    (tmp_path / "test.txt").write_text("f.jpg 0 3\ng.jpg\nh.jpg 0 1")
    (tmp_path / "labels.txt").write_text("cat 0\ntable 1\ncandle 2\nkite 3")
    (tmp_path / "captions.txt").write_text("\n".join(f"{i}.jpg caption {i}" for i in range(60)))
    for name in (*range(60), "f", "g", "h"):
        (tmp_path / f"{name}.jpg").touch()
    cfg = get_cfg_default()
    longtail.extend_cfg(cfg)
    list_lt.extend_cfg(cfg)
    cfg.DATASET.ROOT, cfg.SEED, cfg.VERBOSE = str(tmp_path), 3, False
    return cfg


def check_consistent(data):
    """Counts, groups and captions must be those of the training images as used."""
    targets = np.stack([item.label for item in data.train_x])
    np.testing.assert_array_equal(data.class_counts, (targets == 1).sum(axis=0))
    assert data.groups == [group_of(count) for count in data.class_counts]
    assert data.captions == [[f"caption {Path(i.impath).stem}"] for i in data.train_x]
    return targets


def test_few_shots(cfg):
    whole = check_consistent(ListLT(cfg))
    cfg.DATASET.NUM_SHOTS = 2
    data = ListLT(cfg)
    targets = check_consistent(data)
    assert (targets.sum(axis=0) >= np.minimum(whole.sum(axis=0), 2)).all()
    assert len(targets) <= 7 and not data.val and len(data.test) == 3
    assert f"  train is {len(targets)} of 60 images: 2 of every class" in data.describe()
    first = [item.impath for item in data.train_x]
    assert [item.impath for item in ListLT(cfg).train_x] == first
    cfg.SEED = 4
    assert [item.impath for item in ListLT(cfg).train_x] != first


def test_validation_hold_out(cfg):
    names = [item.impath for item in ListLT(cfg).train_x]
    cfg.DATASET.VAL_FRACTION = 0.2
    data = ListLT(cfg)
    check_consistent(data)
    train, val = ([i.impath for i in part] for part in (data.train_x, data.val))
    assert sorted(train + val) == sorted(names) and not set(train) & set(val)
    assert 10 <= len(val) <= 14 and data.class_counts[3] == 1
    assert train == [name for name in names if name in set(train)]  # in list order
    assert (
        "  val is a stratified hold-out of the training list (VAL_FRACTION 0.2, seed 3)"
        in data.describe().splitlines()
    )


def test_shots_are_drawn_from_what_is_not_held_out(cfg):
    cfg.DATASET.VAL_FRACTION, cfg.DATASET.NUM_SHOTS = 0.2, 2
    data = ListLT(cfg)
    check_consistent(data)
    cfg.DATASET.NUM_SHOTS = -1
    assert [i.impath for i in data.val] == [i.impath for i in ListLT(cfg).val]
    assert not {i.impath for i in data.train_x} & {i.impath for i in data.val}


def test_a_hold_out_beside_a_validation_list(cfg, tmp_path):
    (tmp_path / "val.txt").write_text("g.jpg 2")
    cfg.DATASET.VAL_FRACTION = 0.2
    with pytest.raises(ValueError, match=r"there is a validation list, .*val\.txt"):
        ListLT(cfg)


def test_a_hold_out_of_nothing(cfg):
    cfg.DATASET.VAL_FRACTION = 0.001
    with pytest.raises(ValueError, match="0.001 of 60 training images holds none out"):
        ListLT(cfg)


def test_partial_labels(cfg):
    cfg.DATASET.VAL_FRACTION = 0.2
    whole = ListLT(cfg)
    cfg.DATASET.LABEL_PROPORTION = 0.5
    data = ListLT(cfg)
    targets = check_consistent(data)
    known = targets != -1
    assert targets.dtype == np.float32 and set(np.unique(targets)) == {-1, 0, 1}
    np.testing.assert_array_equal(
        targets[known], np.stack([item.label for item in whole.train_x])[known]
    )
    assert 0.4 < known.mean() < 0.6
    for part in ("val", "test"):  # evaluation knows everything
        for item, full in zip(getattr(data, part), getattr(whole, part), strict=True):
            np.testing.assert_array_equal(item.label, full.label)
    rule = "of the training images' labels are known (LABEL_PROPORTION 0.5, seed 3)"
    note = f"  {known.mean():.1%} {rule}"
    assert note in data.describe().splitlines()
    per_image = (targets == 1).sum(axis=1)
    assert f"{per_image.mean():.2f} labels per image" in data.describe()


def test_a_mask_serves_every_seed_and_every_subset(cfg, tmp_path):
    cfg.DATASET.LABEL_PROPORTION = 0.5
    cfg.DATASET.LABEL_MASK = str(tmp_path / "masks" / "half.npz")
    cfg.DATASET.NUM_SHOTS = 2
    few = {item.impath: item.label for item in ListLT(cfg).train_x}
    cfg.DATASET.NUM_SHOTS, cfg.SEED = -1, 9
    data = ListLT(cfg)
    assert f"0.5, {tmp_path / 'masks' / 'half.npz'})" in data.describe()
    whole = {item.impath: item.label for item in data.train_x}
    for path, label in few.items():
        np.testing.assert_array_equal(whole[path], label)
    cfg.DATASET.LABEL_MASK = ""
    drawn = {item.impath: item.label for item in ListLT(cfg).train_x}
    assert any((drawn[path] != whole[path]).any() for path in whole)
