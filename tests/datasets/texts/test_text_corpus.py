from __future__ import annotations

import json

import numpy as np
import pytest
from yacs.config import CfgNode

from datasets.files.text_rows import DataFileError
from datasets.texts import text_corpus
from datasets.texts.text_corpus import TEMPLATES, build_corpus, synonyms_of, template_sentences

NAMES = ["cat", "dining table", "orange owl", "anchor"]
CAPTIONS = [["A cat on a dining table. A room.", "two cats"], [], ["nothing here"], ["an anchor"]]
TARGETS = np.array([[1, 1, -1, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]], dtype=np.float32)


def build(tmp_path, captions=CAPTIONS, held_out=(), dataset="ListLT", **settings):
    cfg = CfgNode({"DATASET": CfgNode()})
    text_corpus.extend_cfg(cfg)
    for key, value in settings.items():
        assert key in cfg.DATASET
        cfg.DATASET[key] = value
    return build_corpus(cfg.DATASET, str(tmp_path), dataset, NAMES, captions, TARGETS, held_out)


def write_json(path, captions):
    """Write {file name: captions} in COCO's format."""
    images = [{"id": i, "file_name": name} for i, name in enumerate(captions)]
    notes = [
        {"image_id": i, "caption": text}
        for i, name in enumerate(captions)
        for text in captions[name]
    ]
    path.write_text(json.dumps({"images": images, "annotations": notes}))


class TestOwnCaptions:
    def test_labels_come_from_the_words_sentence_by_sentence(self, tmp_path):
        corpus = build(tmp_path)
        assert corpus.sentences == ["A cat on a dining table.", "two cats", "an anchor"]
        assert corpus.labels.dtype == np.float32
        np.testing.assert_array_equal(corpus.labels, [[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
        np.testing.assert_array_equal(corpus.labels.sum(axis=0), [2, 1, 0, 1])
        notes = "; ".join(corpus.notes)
        assert "5 sentences of the set's own captions" in notes
        assert "2 without any class left out" in notes
        assert "3 used, 1.33 labels each" in notes
        assert "no sentence for 1 classes (orange owl)" in notes

    def test_labels_may_come_from_the_images(self, tmp_path):
        corpus = build(tmp_path, TEXT_LABELS="images")
        assert corpus.sentences == [
            "A cat on a dining table.",
            "A room.",
            "two cats",
            "nothing here",
        ]
        np.testing.assert_array_equal(corpus.labels, TARGETS[[0, 0, 0, 2]])

    def test_so_many_of_each_image(self, tmp_path):
        corpus = build(tmp_path, TEXT_PER_IMAGE=1)
        assert corpus.sentences == ["A cat on a dining table.", "an anchor"]

    def test_the_own_table_of_a_data_set(self, tmp_path):
        captions = [["a ship anchor", "a kitten"]]
        assert build(tmp_path, captions, dataset="ShapesLT").sentences == ["a ship anchor"]
        assert build(tmp_path, captions, dataset="COCOLT").sentences == [
            "a ship anchor",
            "a kitten",
        ]
        by_key = build(tmp_path, captions, dataset="ShapesLT", SYNONYMS="VOCLT")
        assert by_key.sentences == ["a ship anchor", "a kitten"]

    def test_a_set_without_captions(self, tmp_path):
        with pytest.raises(ValueError, match="needs captions and the data set has none"):
            build(tmp_path, captions=None)

    def test_captions_about_something_else(self, tmp_path):
        with pytest.raises(ValueError, match="None of 1 sentences names a class"):
            build(tmp_path, captions=[["the weather"]])


class TestFiles:
    def test_json_without_the_captions_of_held_out_images(self, tmp_path):
        captions = {
            "a.jpg": ["a cat", "a cat asleep"],
            "b.jpg": ["a cat and an anchor"],
            "COCO_train2014_000000000009.jpg": ["an anchor"],
        }
        write_json(tmp_path / "texts.json", captions)
        everything = build(tmp_path, TEXTS="texts.json")
        assert len(everything.sentences) == 4
        corpus = build(
            tmp_path,
            held_out=["val/b.jpg", "val2017/000000000009.jpg"],
            TEXTS=str(tmp_path / "texts.json"),
        )
        assert corpus.sentences == ["a cat", "a cat asleep"]
        assert "2 validation or test images left out" in corpus.notes
        one_each = build(tmp_path, TEXTS="texts.json", TEXT_PER_IMAGE=1)
        assert one_each.sentences == ["a cat", "a cat and an anchor", "an anchor"]

    def test_text_with_a_sentence_in_a_line(self, tmp_path):
        (tmp_path / "texts.txt").write_text("a cat. a cat again.\n\nan anchor\n")
        corpus = build(tmp_path, captions=None, TEXTS="texts.txt")
        assert corpus.sentences == ["a cat. a cat again.", "an anchor"]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"a cat\n\xff\xfe\n", "line 2.*not UTF-8"),
            (b"a cat\nimages/1.jpg a cat\n", "line 2.*path of a picture"),
            (b"\n", "holds no sentence"),
        ],
    )
    def test_a_broken_text_file(self, tmp_path, content, message):
        (tmp_path / "texts.txt").write_bytes(content)
        with pytest.raises(DataFileError, match=message):
            build(tmp_path, TEXTS="texts.txt")

    def test_broken_json(self, tmp_path):
        (tmp_path / "texts.json").write_text('{"images": [],\n"annotations": }')
        with pytest.raises(DataFileError, match="line 2: not valid JSON"):
            build(tmp_path, TEXTS="texts.json")

    def test_an_absent_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="DATASET.TEXTS: there is no file"):
            build(tmp_path, TEXTS="texts.json")


class TestOptions:
    def test_each_sentence_counts_for_its_rarest_class(self, tmp_path):
        texts = ["a cat and an anchor", "a cat", "cats", "an anchor", "cat cat", "a dining table"]
        (tmp_path / "t.txt").write_text("\n".join(texts))
        corpus = build(tmp_path, TEXTS="t.txt", TEXT_MAX_PER_CLASS=1)
        # Anchors (2) are rarer than cats (4): the first sentence is an anchor's, and fills it.
        assert corpus.sentences == ["a cat and an anchor", "a cat", "a dining table"]
        assert "3 left out by TEXT_MAX_PER_CLASS" in corpus.notes

    def test_templates_are_one_hot(self, tmp_path):
        plain = build(tmp_path)
        corpus = build(tmp_path, TEXT_TEMPLATES=2)
        added = len(corpus.sentences) - len(plain.sentences)
        assert added == 2 * len(template_sentences(NAMES))
        assert corpus.sentences[: len(plain.sentences)] == plain.sentences
        for sentence, row in zip(corpus.sentences[-added:], corpus.labels[-added:], strict=True):
            assert [name for name in NAMES if name in sentence] == [NAMES[row.argmax()]]
            assert row.sum() == 1
        np.testing.assert_array_equal(
            corpus.labels.sum(axis=0) - plain.labels.sum(axis=0), [added / len(NAMES)] * len(NAMES)
        )
        assert not any("no sentence" in note for note in corpus.notes)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"TEXT_LABELS": "wrods"}, "Did you mean 'words'"),
            ({"TEXT_TEMPLATES": -1}, "TEXT_TEMPLATES must be 0 or more, got -1"),
            ({"TEXT_MAX_PER_CLASS": -1}, "TEXT_MAX_PER_CLASS must be 0 or more"),
            ({"TEXT_LABELS": "images", "TEXTS": "t.json"}, "needs the set's own captions"),
            ({"TEXTS": "t.txt", "TEXT_PER_IMAGE": 1}, "tells of no images"),
        ],
    )
    def test_unusable_values(self, tmp_path, settings, message):
        (tmp_path / "t.txt").write_text("a cat")
        with pytest.raises(ValueError, match=message):
            build(tmp_path, **settings)


class TestSynonymsOf:
    def test_a_file_of_ones_own(self, tmp_path):
        (tmp_path / "own.txt").write_text("cat: moggy")
        assert synonyms_of("own.txt", NAMES, str(tmp_path)).of_class == {"cat": ["moggy"]}
        (tmp_path / "own.txt").write_text("cow: calf")
        with pytest.raises(DataFileError, match="no class 'cow'"):
            synonyms_of("own.txt", NAMES, str(tmp_path))

    def test_none(self):
        assert synonyms_of("", NAMES) is None

    def test_an_unknown_name(self):
        with pytest.raises(FileNotFoundError, match="Did you mean 'COCOLT'"):
            synonyms_of("COCO-LT", NAMES)


def test_templates():
    rows = TEMPLATES.read_text().splitlines()
    assert len(rows) == len(set(rows)) >= 30
    assert all("{}" in row for row in rows)
    filled = template_sentences(["cat", "open_book"])
    assert filled[:2] == ["a photo of a cat.", "a photo of an open book."]
    assert not any("{" in sentence or "_" in sentence for sentence in filled)


def test_a_data_set_has_texts_where_asked(tmp_path):
    """Through the data set itself: held-out images keep their captions to themselves."""
    import train
    from datasets.list_lt import ListLT
    from tests.helpers.sets.small_set import write_set

    write_set(tmp_path)
    cfg = train.build_cfg(train.build_parser().parse_args([]))
    cfg.DATASET.NAME, cfg.DATASET.ROOT, cfg.DATASET.FOLDER = "ListLT", str(tmp_path), "mine"
    assert ListLT(cfg).texts is None
    cfg.DATASET.TEXT_AS_IMAGE = True
    data = ListLT(cfg)
    assert len(data.texts.sentences) == len(data.train_x)
    # Captions of this set name exactly what its pictures show.
    np.testing.assert_array_equal(data.texts.labels, [item.label for item in data.train_x])
    assert "texts as images: 21 sentences" in data.describe()
    cfg.DATASET.VAL_FRACTION = 0.3
    held = ListLT(cfg)
    assert len(held.texts.sentences) == len(held.train_x) < len(data.train_x)
