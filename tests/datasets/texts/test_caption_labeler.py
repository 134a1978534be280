from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.files.text_rows import DataFileError
from datasets.shapes.captions import SYNONYMS as DRAWN
from datasets.shapes.glyphs import SHAPE_NAMES
from datasets.texts.caption_labeler import (
    TABLES,
    CaptionLabeler,
    Synonyms,
    normalised_name,
    read_synonyms,
)


def class_names(table):
    return list(read_synonyms(TABLES / f"{table}.txt").of_class)


@pytest.fixture(scope="module")
def coco():
    names = [*class_names("COCOLT"), "zebra", "stop sign"]  # these need no synonym
    labeler = CaptionLabeler(names, read_synonyms(TABLES / "COCOLT.txt"))
    return lambda text: {names[index] for index in labeler.classes(text)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A boy swings a baseball bat.", {"person", "baseball bat"}),  # no sports ball
        ("the batter waits for the baseball", {"person", "baseball bat", "sports ball"}),
        ("a teddy bear on a bed", {"teddy bear", "bed"}),  # no bear
        ("a bear near hot dogs and a dog", {"bear", "hot dog", "dog"}),
        ("two HOT-DOGS", {"hot dog"}),
        ("a hot, dog tired man", {"dog", "person"}),  # a comma parts the words
        ("a man in an orange shirt", {"person"}),
        ("an orange on a plate", {"orange"}),
        ("oranges, apples", {"orange", "apple"}),
        ("an orange and white cat", {"cat"}),
        ("an orange parking meter", {"parking meter"}),
        ("the orange sitting there", {"orange"}),
        ("a computer mouse", {"mouse"}),
        ("mickey mouse on train tracks", set()),
        ("a train at the train station", {"train"}),
        ("glasses of wine and a wineglass", {"wine glass"}),
        ("a man's tie", {"person", "tie"}),
        ("a horse tied to a tree", {"horse"}),
        ("knives, forks and silverware", {"knife", "fork", "spoon"}),
        ("a motorbike, a motor-bike", {"motorcycle"}),
        ("a sailboat, a rowboat, cowboys on horseback", {"boat", "person", "horse"}),
        ("seagulls on an armchair with teacups", {"bird", "chair", "cup"}),
        ("a carpet on a scar", set()),  # no car
        ("the catalogue of a category", set()),  # no cat
        ("", set()),
    ],
)
def test_tricky_sentences(coco, text, expected):
    assert coco(text) == expected


@pytest.mark.parametrize("person", ["child", "Children", "players", "girl", "policemen", "people"])
def test_words_for_people(coco, person):
    assert coco(f"some {person} there") == {"person"}


def test_a_longer_phrase_uses_its_words_up():
    labeler = CaptionLabeler(["bat", "baseball bat", "ball bat rack"])
    assert labeler.classes("a baseball bat") == [1]
    assert labeler.classes("a baseball bat and a bat") == [0, 1]
    # Three words go before two, and what is left of the two is no phrase any more.
    assert CaptionLabeler(["a b", "b c d", "a"]).classes("a b c d") == [1, 2]


def test_class_names_alone():
    labeler = CaptionLabeler(["dining_table", "Glacier", "buses", "running shoe"])
    assert labeler.classes("glaciers; a bus, dining-tables and the runningshoe") == [0, 1, 2, 3]


def test_a_phrase_may_name_several_classes_and_none():
    synonyms = Synonyms({"man": ["rider"], "horse": ["rider"]}, ["rider mower"])
    labeler = CaptionLabeler(["man", "horse"], synonyms)
    assert labeler.classes("a rider") == [0, 1]
    assert labeler.classes("a rider mower") == []


def test_labels_are_vectors():
    labels = CaptionLabeler(["cat", "dog"]).label(["a cat", "nothing", "a dog, cats"])
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(labels, [[1, 0], [0, 0], [1, 1]])
    assert CaptionLabeler(["cat"]).label([]).shape == (0, 1)


def test_shapes_table_knows_every_word_of_the_captions():
    table = read_synonyms(TABLES / "ShapesLT.txt", SHAPE_NAMES)
    labeler = CaptionLabeler(SHAPE_NAMES, table)
    for index, name in enumerate(SHAPE_NAMES):
        for noun in (name, *DRAWN[name]):
            assert labeler.classes(f"there is a red {noun} on paper.") == [index]


@pytest.mark.parametrize("table", ["VOCLT", "COCOLT", "ShapesLT"])
def test_every_synonym_of_a_table_names_its_class(table):
    names = class_names(table)
    synonyms = read_synonyms(TABLES / f"{table}.txt", names)
    labeler = CaptionLabeler(names, synonyms)
    for index, name in enumerate(names):
        for phrase in (name, *synonyms.of_class[name]):
            assert index in labeler.classes(f"the {phrase.removesuffix('(noun)')}."), phrase
    for phrase in synonyms.no_class:
        assert not labeler.classes(f"the {phrase}"), phrase


def naive_classes(names, text):
    """Single-word names only: every word or its plural with s."""
    found = text.lower().split()
    return [i for i, name in enumerate(names) if name in found or f"{name}s" in found]


SENTENCES = st.lists(
    st.sampled_from(["cat", "cats", "dog", "DOGS", "catdog", "a", "the", "dogma"]), max_size=8
).map(" ".join)


@settings(deadline=None)
@given(SENTENCES)
def test_single_words_as_a_naive_search_finds_them(text):
    names = ["cat", "dog"]
    assert CaptionLabeler(names).classes(text) == naive_classes(names, text)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_labelled_and_case_does_not_matter(text):
    labeler = CaptionLabeler(["cat", "hot dog"])
    assert labeler.classes(text) == labeler.classes(text.lower())


@settings(deadline=None)
@given(SENTENCES, st.permutations(["cat", "dog", "cat dog", "a"]))
def test_the_order_of_classes_does_not_matter(text, names):
    labeler = CaptionLabeler(names)
    first = ["cat", "dog", "cat dog", "a"]
    assert {names[i] for i in labeler.classes(text)} == {
        first[i] for i in CaptionLabeler(first).classes(text)
    }


def test_labels_do_not_depend_on_the_order_of_a_table():
    """Nor on that of sets, which changes from run to run: matches are sorted, ties included."""
    names = class_names("COCOLT")
    table = read_synonyms(TABLES / "COCOLT.txt")
    backwards = Synonyms(
        {name: phrases[::-1] for name, phrases in reversed(table.of_class.items())},
        table.no_class[::-1],
    )
    phrases = [p for row in (*table.of_class.values(), table.no_class) for p in row]
    texts = [f"{a} {b}" for a, b in zip(phrases, phrases[7:], strict=False)]
    texts += ["a pot of flowers on a dining room table beside a teddy bear chair"]
    labels = CaptionLabeler(names, table).label(texts)
    assert labels.sum() > len(texts)
    np.testing.assert_array_equal(CaptionLabeler(names, backwards).label(texts), labels)


class TestReadSynonyms:
    def test_rows_add_up(self, tmp_path):
        path = tmp_path / "own.txt"
        path.write_text("# mine\ncat: Kitty, tom cat\n\n-: cat food\ncat:moggy\n")
        table = read_synonyms(path, ["cat", "dog"])
        assert table.of_class == {"cat": ["kitty", "tom cat", "moggy"]}
        assert table.no_class == ["cat food"]

    def test_names_are_compared_without_blanks_and_case(self, tmp_path):
        path = tmp_path / "own.txt"
        path.write_text("Dining table: table\n")
        labeler = CaptionLabeler(["diningtable"], read_synonyms(path, ["diningtable"]))
        assert labeler.classes("a table") == labeler.classes("a diningtable") == [0]
        assert normalised_name("Dining_table") == normalised_name("dining-table") == "diningtable"

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("cat kitty", r"line 2: 'cat kitty': expected 'class: synonym, synonym'"),
            (": kitty", "line 2.*expected 'class"),
            ("cat: kitty,, tom", "line 2.*a synonym is empty"),
            ("cat: (noun)", "line 2.*a synonym is empty"),
            ("cta: kitty", "line 2.*no class 'cta'. Did you mean 'cat'"),
        ],
    )
    def test_a_broken_row_is_named(self, tmp_path, row, message):
        path = tmp_path / "own.txt"
        path.write_text(f"dog: puppy\n{row}\n")
        with pytest.raises(DataFileError, match=message):
            read_synonyms(path, ["cat", "dog"])

    def test_an_empty_file(self, tmp_path):
        path = tmp_path / "own.txt"
        path.write_text("# nothing\n")
        with pytest.raises(DataFileError, match="holds no row"):
            read_synonyms(path)


def test_a_name_without_a_word():
    with pytest.raises(ValueError, match="holds no word"):
        CaptionLabeler(["cat", "?"])
