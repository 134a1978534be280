"""Sentences as training images of VOC07, COCO14 and NUSWIDE: the words that name their classes."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.coco14 import COCO14
from datasets.nus_wide import NUSWIDE
from datasets.texts.caption_labeler import TABLES, CaptionLabeler, read_synonyms
from datasets.voc07 import VOC07
from tests.helpers.sets.official_sets import (
    make_cfg,
    write,
    write_coco2014,
    write_nus_wide,
    write_voc2007,
)


@pytest.mark.parametrize(
    ("dataset", "make", "sentence", "expected", "settings"),
    [
        (VOC07, write_voc2007, "a kitten at a kitchen table", {"cat", "dining table"}, {}),
        (VOC07, write_voc2007, "a kitchen table", {"diningtable"}, {"CLASSNAMES": "raw"}),
        (COCO14, write_coco2014, "a skier with a tooth brush", {"person", "toothbrush"}, {}),
        (NUSWIDE, write_nus_wide, "a gull below blue skies", {"birds", "sky"}, {}),
    ],
)
def test_words_and_labels(dataset, make, sentence, expected, settings, tmp_path):
    make(tmp_path)
    write(tmp_path / "texts.txt", f"{sentence}\n")
    data = dataset(make_cfg(tmp_path, TEXT_AS_IMAGE=True, TEXTS="../texts.txt", **settings))
    (labels,) = data.texts.labels
    assert {data.classnames[c] for c in np.flatnonzero(labels)} == expected


def test_captions_of_coco_belong_to_their_images(tmp_path):
    folder = write_coco2014(tmp_path)
    name = "annotations/captions_train2014.json"
    text = (folder / name).read_text().replace("image 30", "a person and a stop sign")
    write(folder / name, text)
    data = COCO14(make_cfg(tmp_path, TEXT_AS_IMAGE=True, TEXT_LABELS="images"))
    assert data.texts.sentences == ["image 57870", "a person and a stop sign"]
    assert data.texts.labels.tolist() == [[1, 0, 1], [0, 1, 0]]  # of the images, not of the words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two boats in the harbour at night", {"boats", "harbor", "nighttime"}),
        ("A kitten sleeps by the window.", {"animal", "cat", "window"}),
        ("kids playing football in the snow", {"person", "snow", "soccer", "sports"}),
        ("a man in a hot dog suit", {"person"}),
    ],
)
def test_concepts_of_nus_wide(text, expected):
    synonyms = read_synonyms(TABLES / "NUSWIDE.txt")
    names = list(synonyms.of_class)
    assert len(names) == 81
    assert {names[c] for c in CaptionLabeler(names, synonyms).classes(text)} == expected
