"""VOC-LT and COCO-LT as published; the counts are those of the paper's data."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml

from common.groups import group_of
from datasets.base import long_tail_dataset as longtail
from datasets.coco_lt import COCOLT
from datasets.files.captions import read_captions
from datasets.files.class_freq import read_class_freq
from datasets.files.list_files import read_labels, read_list
from datasets.files.text_rows import DataFileError
from datasets.voc_lt import VOCLT
from modeling.clip.loader import encode_words

CHECKOUT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("LMPT_REAL_DATA", "data")).resolve()  # holds voc/ and coco/
FACTS = {
    "voc": {
        "train": 1142,
        "test": 4952,
        "classes": 20,
        "counts": (4, 775),
        "groups": {"head": 6, "medium": 6, "tail": 8},
        "train_labels": 2346,
        "test_labels": 7632,
        "test_unlabelled": 0,
    },
    "coco": {
        "train": 1909,
        "test": 5000,
        "classes": 80,
        "counts": (6, 1128),
        "groups": {"head": 22, "medium": 33, "tail": 25},
        "train_labels": 8316,
        "test_labels": 14631,
        "test_unlabelled": 48,
    },
}
both = pytest.mark.parametrize("folder", ["voc", "coco"])


def real(*parts: str) -> Path:
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is absent; set LMPT_REAL_DATA to the folder that holds voc and coco")
    return path


def read_real(folder: str, split: str):
    names = read_labels(real(folder, f"{folder}_labels.txt"))
    return names, read_list(real(folder, f"{folder}_lt_{split}.txt"), len(names))


def make_cfg(root: Path, missing: str = "skip"):
    from dassl.config import get_cfg_default  # there once `datasets` is imported

    cfg = get_cfg_default()
    longtail.extend_cfg(cfg)
    cfg.DATASET.ROOT = str(root)
    cfg.DATASET.MISSING = missing
    return cfg


@both
def test_published_facts(folder):
    facts = FACTS[folder]
    names, train = read_real(folder, "train")
    _, test = read_real(folder, "test")
    counts = Counter(label for entry in train for label in entry.labels)
    assert len(names) == facts["classes"]
    assert (len(train), len(test)) == (facts["train"], facts["test"])
    assert (min(counts.values()), max(counts.values())) == facts["counts"]
    assert sum(counts.values()) == facts["train_labels"]
    assert sum(len(entry.labels) for entry in test) == facts["test_labels"]
    assert sum(not entry.labels for entry in test) == facts["test_unlabelled"]
    assert all(entry.labels for entry in train)
    assert Counter(group_of(counts[c]) for c in range(len(names))) == facts["groups"]


@both
def test_published_counts_are_those_of_the_training_list(folder):
    names, train = read_real(folder, "train")
    counts = Counter(label for entry in train for label in entry.labels)
    published = read_class_freq(real(folder, "class_freq.pkl"))
    np.testing.assert_array_equal(published, [counts[c] for c in range(len(names))])


@both
def test_every_training_image_has_its_caption(folder):
    _, train = read_real(folder, "train")
    captions = read_captions(real(folder, f"{folder}_lt_captions.txt"))
    assert list(captions) == [entry.path for entry in train]
    assert all(len(texts) == 1 for texts in captions.values())


def test_captions_are_as_long_as_known():
    voc, coco = (
        [texts[0] for texts in read_captions(real(f, f"{f}_lt_captions.txt")).values()]
        for f in ("voc", "coco")
    )
    tokens = {"voc": voc, "coco": coco}
    tokens = {
        name: [len(encode_words(text)) + 2 for text in texts] for name, texts in tokens.items()
    }
    assert round(np.mean([len(text.split()) for text in voc]), 1) == 9.9
    assert max(map(len, voc)) == 70 and (min(tokens["voc"]), max(tokens["voc"])) == (9, 18)
    assert round(np.mean([len(text) for text in coco])) == 272 and max(map(len, coco)) == 629
    assert sum(len(text.split()) > 75 for text in coco) == 21
    assert round(np.mean(tokens["coco"])) == 61 and max(tokens["coco"]) == 136
    assert sum(count > 77 for count in tokens["coco"]) == 52  # 2.7%
    cut = sum(text[74] != " " and text[75] != " " for text in coco)  # all are longer
    assert round(100 * cut / len(coco)) == 61


def test_names_with_blanks():
    names = read_labels(real("coco", "coco_labels.txt"))
    assert (names[9], names[78], names[79]) == ("traffic light", "hair drier", "toothbrush")


def test_voc_with_the_pictures_at_hand():
    real("voc", "VOCdevkit")
    with pytest.raises(FileNotFoundError, match=r"\d+ of 1142 train pictures"):
        VOCLT(make_cfg(DATA, missing="error"))
    data = VOCLT(make_cfg(DATA))
    assert data.missing == {"train": 1142 - len(data.train_x), "test": 4952 - len(data.test)}
    assert len(data.train_x) >= 91 and len(data.test) >= 14
    assert data.num_classes == 20 and len(data.groups) == 20
    assert all(data.captions)
    np.testing.assert_array_equal(
        data.class_counts, np.stack([item.label for item in data.train_x]).sum(axis=0)
    )


@both
def test_the_whole_set_with_empty_pictures(folder, tmp_path):
    """Build the set as a user with all pictures has it; only their presence matters here."""
    target = tmp_path / folder
    target.mkdir()
    for source in real(folder).iterdir():
        if source.suffix in (".txt", ".pkl"):
            (target / source.name).symlink_to(source)
    for split in ("train", "test"):
        for entry in read_real(folder, split)[1]:
            picture = target / entry.path
            picture.parent.mkdir(parents=True, exist_ok=True)
            picture.touch()
    dataset = {"voc": VOCLT, "coco": COCOLT}[folder]
    data = dataset(make_cfg(tmp_path, missing="error"))
    facts = FACTS[folder]
    assert (len(data.train_x), len(data.test)) == (facts["train"], facts["test"])
    assert Counter(data.groups) == facts["groups"]
    assert data.class_counts.sum() == facts["train_labels"]
    assert sum(map(bool, data.captions)) == facts["train"]
    assert data.missing == {"train": 0, "test": 0}
    (target / "class_freq.pkl").unlink()
    (target / "class_freq.pkl").write_bytes(b"not the published counts")
    with pytest.raises(DataFileError, match=r"class_freq\.pkl"):
        dataset(make_cfg(tmp_path, missing="error"))


def test_clean_names_are_readable_and_concern_real_classes():
    names = read_labels(real("voc", "voc_labels.txt"))
    assert set(VOCLT.clean_names) <= set(names)
    for raw, clean in VOCLT.clean_names.items():
        assert clean.replace(" ", "") == raw


@pytest.mark.parametrize(
    ("name", "dataset", "score", "loss"),
    [
        ("voc_lt", "VOCLT", "softmax", {"MU": 0.3, "NEG_SCALE": 5.0}),
        ("coco_lt", "COCOLT", "softmax", {"MU": 0.2, "NEG_SCALE": 2.0}),
        ("shapes_lt", "ShapesLT", None, {"MU": 0.3, "NEG_SCALE": 5.0}),
        ("shapes_lt80", "ShapesLT80", None, {"MU": 0.2, "NEG_SCALE": 2.0}),
        ("list_lt", "ListLT", None, None),
    ],
)
def test_configs(name, dataset, score, loss):
    config = yaml.safe_load((CHECKOUT / "configs" / "datasets" / f"{name}.yaml").read_text())
    assert config["DATASET"]["NAME"] == dataset
    assert config.get("TEST", {}).get("SCORE") == score
    assert config.get("TRAINER", {}).get("LOSS", {}).get("DB") == loss
