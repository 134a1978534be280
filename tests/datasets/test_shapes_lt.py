"""The registered ShapesLT: drawn on first use, then an ordinary long-tailed set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.groups import group_of
from datasets import shapes_lt
from datasets.base import long_tail_dataset as longtail
from datasets.shapes.glyphs import SHAPE_NAMES
from datasets.shapes.specs import ShapesSpec
from datasets.shapes_lt import ShapesLT

SMALL = ShapesSpec(
    train_images=30, train_counts=(24, 2, *(1,) * 18), test_images=20, test_counts=(2,) * 20
)


@pytest.fixture
def cfg(tmp_path):
    from dassl.config import get_cfg_default  # there once `datasets` is imported

    cfg = get_cfg_default()
    longtail.extend_cfg(cfg)
    cfg.DATASET.NAME = "ShapesLT"
    cfg.DATASET.ROOT = str(tmp_path / "not" / "yet" / "there")
    return cfg


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(shapes_lt, "SPEC", SMALL)


def test_drawn_on_first_use_and_read_as_a_long_tailed_set(cfg, small):
    data = ShapesLT(cfg)
    assert data.classnames == list(SHAPE_NAMES)
    assert data.class_counts.tolist() == list(SMALL.train_counts)
    assert (len(data.train_x), len(data.test)) == (30, 20)
    np.testing.assert_array_equal(sum(item.label for item in data.test), SMALL.test_counts)
    assert all(len(texts) == 1 for texts in data.captions)


def test_a_second_use_draws_nothing(cfg, small, monkeypatch):
    ShapesLT(cfg)
    monkeypatch.setattr("datasets.shapes.generator.generate", None)
    assert len(ShapesLT(cfg).train_x) == 30


@pytest.mark.parametrize(
    ("node", "key", "value"),
    [("TEST", "SPLIT", "val"), ("TEST", "FINAL_MODEL", "best_val")],
)
def test_validation_pictures_come_when_asked_for_and_change_nothing_else(
    cfg, small, node, key, value
):
    before = ShapesLT(cfg)
    assert not before.val
    contents = {path: path.read_bytes() for path in Path(before.dataset_dir).rglob("*.*")}
    cfg[node][key] = value
    data = ShapesLT(cfg)
    np.testing.assert_array_equal(sum(item.label for item in data.val), SMALL.test_counts)
    assert len(data.val) == 20 and len({Path(item.impath).read_bytes() for item in data.val}) == 20
    assert all(path.read_bytes() == content for path, content in contents.items())
    pictures = {contents[Path(item.impath)] for item in (*data.train_x, *data.test)}
    assert pictures.isdisjoint(Path(item.impath).read_bytes() for item in data.val)
    assert [path.name for path in Path(cfg.DATASET.ROOT).iterdir()] == ["shapes_lt"]
    cfg[node][key] = "test" if key == "SPLIT" else "last_step"
    assert not ShapesLT(cfg).val  # they are there, and nobody asks for them


def test_a_hold_out_takes_the_place_of_the_validation_pictures(cfg, small):
    cfg.DATASET.VAL_FRACTION, cfg.TEST.SPLIT = 0.2, "val"
    data = ShapesLT(cfg)
    assert len(data.train_x) + len(data.val) == 30


def test_every_seed_may_have_pictures_of_its_own(cfg, small):
    fixed = ShapesLT(cfg)
    cfg.DATASET.DRAW, cfg.TEST.SPLIT = "seed", "val"
    pictures = [Path(item.impath).read_bytes() for item in (*fixed.train_x, *fixed.test)]
    for seed in (0, 1, 2):
        cfg.SEED = seed
        data = ShapesLT(cfg)
        assert Path(data.dataset_dir) == Path(cfg.DATASET.ROOT) / "draws" / str(seed) / "shapes_lt"
        np.testing.assert_array_equal(data.class_counts, SMALL.train_counts)
        assert all(len(texts) == 1 for texts in data.captions)
        drawn = (*data.train_x, *data.val, *data.test)
        pictures += [Path(item.impath).read_bytes() for item in drawn]
    assert len(set(pictures)) == len(pictures) == 50 + 3 * 70
    again = ShapesLT(cfg)
    assert [item.impath for item in again.test] == [item.impath for item in data.test]


def test_dassl_finds_it_by_its_name(cfg, small):
    from dassl.data.datasets import build_dataset

    assert isinstance(build_dataset(cfg), ShapesLT)


def test_groups_of_the_full_set_are_those_of_voc_lt():
    groups = [group_of(count) for count in shapes_lt.SPEC.train_counts]
    assert [groups.count(name) for name in ("head", "medium", "tail")] == [6, 6, 8]
