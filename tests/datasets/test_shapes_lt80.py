"""The registered ShapesLT80: pairs of shapes, drawn on first use."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from datasets import shapes_lt80
from datasets.base import long_tail_dataset as longtail
from datasets.shapes.glyphs import SHAPE_NAMES
from datasets.shapes.pairs import PAIR_NAMES
from datasets.shapes.specs import PairsSpec
from datasets.shapes_lt80 import ShapesLT80
from datasets.texts.caption_labeler import TABLES, CaptionLabeler, read_synonyms

SMALL = PairsSpec(
    train_images=90,
    train_counts=(24, 8, *(1,) * 78),
    test_images=65,
    test_counts=(1,) * 80,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def make(root, monkeypatch):
    from dassl.config import get_cfg_default  # there once `datasets` is imported

    monkeypatch.setattr(shapes_lt80, "SPEC", SMALL)

    def build(folder=root, split="test"):
        cfg = get_cfg_default()
        longtail.extend_cfg(cfg)
        cfg.DATASET.NAME, cfg.DATASET.ROOT, cfg.TEST.SPLIT = "ShapesLT80", str(folder), split
        return ShapesLT80(cfg)

    return build


def test_drawn_on_first_use_and_read_as_a_long_tailed_set(make, root):
    data = make()
    assert Path(data.dataset_dir) == root / "shapes_lt80"
    assert data.classnames == list(PAIR_NAMES)
    assert data.class_counts.tolist() == list(SMALL.train_counts)
    assert (len(data.train_x), len(data.test), data.val) == (90, 65, None)
    assert sum(item.label for item in data.test).tolist() == list(SMALL.test_counts)


def test_captions_name_what_is_drawn_and_leave_out_one_shape_at_most(make):
    data = make()
    labeler = CaptionLabeler(SHAPE_NAMES, read_synonyms(TABLES / "ShapesLT.txt", SHAPE_NAMES))
    omitted = Counter()
    for item, (caption,) in zip(data.train_x, data.captions, strict=True):
        pairs = [name for name, shown in zip(PAIR_NAMES, item.label, strict=True) if shown]
        drawn = {shape for pair in pairs for shape in pair.split(" and ")}
        named = {SHAPE_NAMES[shape] for shape in labeler.classes(caption)}
        assert named <= drawn
        omitted[len(drawn - named)] += 1
    assert set(omitted) == {0, 1} and omitted[0] > omitted[1]


def test_every_draw_is_the_same(make, root, tmp_path):
    make()
    make(tmp_path)
    files = [path.relative_to(root) for path in root.rglob("*.*") if path.is_file()]
    assert len(files) >= 90 + 65 + 5
    for name in files:
        if "val" not in name.name:
            assert (root / name).read_bytes() == (tmp_path / name).read_bytes()


def test_splits_share_no_picture(make):
    data = make(split="val")
    assert sum(item.label for item in data.val).tolist() == list(SMALL.test_counts)
    pictures = [Path(item.impath).read_bytes() for item in (*data.train_x, *data.val, *data.test)]
    assert len(set(pictures)) == len(pictures) == 90 + 65 + 65
