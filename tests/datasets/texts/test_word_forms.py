from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.texts.word_forms import BREAK, noun_forms, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A Dog's bowl", ["a", "dog", "bowl"]),
        ("the dogs' bowl", ["the", "dogs", "bowl"]),
        ("a catcher’s mitt", ["a", "catcher", "mitt"]),
        ("hot-dog, T.V.", ["hot", "dog", BREAK, "tv", BREAK]),
        ("dining_table", ["dining", "table"]),
        ("cats and dogs.Birds", ["cats", "and", "dogs", BREAK, "birds"]),
        ("Ein Fahrrad für 2", ["ein", "fahrrad", "für", "2"]),
        ("", []),
        ("...", [BREAK] * 3),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("dog", {"dog", "dogs"}),
        ("dogs", {"dog", "dogs"}),
        ("bus", {"bus", "buses"}),
        ("buses", {"bus", "buses", "buse"}),  # nobody writes the last one
        ("horses", {"horse", "horses", "hors"}),
        ("couch", {"couch", "couches"}),
        ("glass", {"glass", "glasses"}),
        ("puppy", {"puppy", "puppies"}),
        ("puppies", {"puppy", "puppies"}),
        ("monkey", {"monkey", "monkeys"}),
        ("tomato", {"tomato", "tomatos", "tomatoes"}),
        ("knife", {"knife", "knives"}),
        ("knives", {"knife", "knives"}),
        ("person", {"person", "persons", "people"}),
        ("people", {"person", "persons", "people"}),
        ("policeman", {"policeman", "policemen"}),
        ("firemen", {"fireman", "firemen"}),
        ("human", {"human", "humans"}),
        ("sheep", {"sheep"}),
        ("scissors", {"scissors"}),
        ("glasses", {"glasses"}),  # eyewear
    ],
)
def test_noun_forms(noun, expected):
    assert noun_forms(noun) == expected


@settings(deadline=None)
@given(st.text(alphabet="abcdefghimnosuxyz", min_size=1, max_size=9))
def test_a_noun_is_among_its_forms_and_forms_are_words(noun):
    forms = noun_forms(noun)
    assert noun in forms
    assert all(words(form) == [form] for form in forms)
