"""Fluent but imperfect English for a drawn picture.

A caption may use a synonym, leave an object out, and mention colours and the background. Every
noun, adjective and template it can use is listed here, so `caption_words` is the full vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datasets.shapes.glyphs import SHAPE_NAMES
from datasets.shapes.renderer import COLOUR_NAMES, Picture

SYNONYMS: dict[str, tuple[str, ...]] = {
    "anchor": ("ship anchor",),
    "arrow": ("pointer",),
    "bell": ("hand bell",),
    "butterfly": ("moth",),
    "crown": ("royal crown",),
    "cup": ("mug", "coffee cup"),
    "envelope": ("letter",),
    "fish": ("goldfish",),
    "flag": ("banner",),
    "flower": ("daisy", "blossom"),
    "heart": ("love heart",),
    "house": ("home", "cottage"),
    "key": ("door key",),
    "lightning bolt": ("thunderbolt", "bolt"),
    "moon": ("crescent", "crescent moon"),
    "mushroom": ("toadstool",),
    "spiral": ("swirl",),
    "star": ("five pointed star",),
    "tree": ("pine tree", "fir"),
    "umbrella": ("parasol",),
}
SIZE_WORDS = ("small", "little", "large", "big", "tilted", "simple", "hand drawn")
OPENINGS = (
    "{things}",
    "a drawing of {things}",
    "a picture of {things}",
    "a photo of {things}",
    "an image of {things}",
    "a sketch of {things}",
    "an illustration with {things}",
    "a picture containing {things}",
    "there is {things}",
    "this image shows {things}",
    "someone has drawn {things}",
    "you can see {things}",
)
ENDINGS = (
    "",
    "",
    "",
    " on a {ground} background",
    " in front of a {ground} wall",
    " over {ground} paper",
    " on {ground}",
    " with some lines and blobs",
    " among scribbles",
    " in a noisy picture",
)


@dataclass(frozen=True)
class Caption:
    """A sentence and the classes it mentions, in the order of mention."""

    text: str
    class_ids: tuple[int, ...]


def describe(
    picture: Picture,
    rng: np.random.Generator,
    omit: float = 0.15,
    synonym: float = 0.2,
) -> Caption:
    """Write one caption for a picture.

    Args:
        picture: what was drawn.
        rng: the only source of randomness.
        omit: probability in [0, 1] that one of several objects goes unmentioned.
        synonym: probability in [0, 1] that an object is called by a synonym.
    """
    order = [int(index) for index in rng.permutation(len(picture.class_ids))]
    if len(order) > 1 and rng.random() < omit:
        order = order[1:]
    phrases = []
    for index in order:
        name = SHAPE_NAMES[picture.class_ids[index]]
        noun = _pick(SYNONYMS[name], rng) if rng.random() < synonym else name
        phrases.append(_noun_phrase(noun, picture.colours[index], rng))
    text = _pick(OPENINGS, rng).format(things=join_phrases(phrases))
    text += _pick(ENDINGS, rng).format(ground=picture.background)
    return Caption(text + ".", tuple(picture.class_ids[index] for index in order))


def caption_words() -> list[str]:
    """Every word that `describe` can write, sorted."""
    nouns = [noun for name in SHAPE_NAMES for noun in (name, *SYNONYMS[name])]
    frames = [text.format(things="", ground="") for text in (*OPENINGS, *ENDINGS)]
    phrases = [*nouns, *frames, *SIZE_WORDS, *COLOUR_NAMES, "a an the one and with , ."]
    return sorted({word for phrase in phrases for word in phrase.split()})


def join_phrases(phrases: Sequence[str]) -> str:
    """Join noun phrases as English does: `a`, `a and b`, `a, b and c`."""
    if len(phrases) == 1:
        return phrases[0]
    return ", ".join(phrases[:-1]) + " and " + phrases[-1]


def with_article(words: str) -> str:
    """Put `a` or `an` before the words."""
    return ("an " if words[0] in "aeiou" else "a ") + words


def _noun_phrase(noun: str, colour: str, rng: np.random.Generator) -> str:
    if rng.random() < 0.35:
        noun = f"{colour} {noun}"
    elif rng.random() < 0.2:
        noun = f"{_pick(SIZE_WORDS, rng)} {noun}"
    if rng.random() < 0.08:
        return f"{_pick(('the', 'one'), rng)} {noun}"
    return with_article(noun)


def _pick(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
