"""English word forms: the words of a sentence, plurals and singulars of a noun."""

from __future__ import annotations

import re

BREAK = ","  # stands for punctuation among the words of a sentence; no phrase reaches across it

_IRREGULAR = {
    "calf": "calves",
    "child": "children",
    "foot": "feet",
    "goose": "geese",
    "half": "halves",
    "knife": "knives",
    "leaf": "leaves",
    "life": "lives",
    "loaf": "loaves",
    "man": "men",
    "mouse": "mice",
    "ox": "oxen",
    "person": "people",
    "scarf": "scarves",
    "shelf": "shelves",
    "tooth": "teeth",
    "wife": "wives",
    "wolf": "wolves",
    "woman": "women",
}
_SINGULAR = {plural: singular for singular, plural in _IRREGULAR.items()}
# Their plural is the word itself; or they end in s and are no plural of anything.
_ALIKE = frozenset(
    "aircraft binoculars cattle deer fish folk glasses goggles jeans lens moose news pants police "
    "scissors series sheep shears shorts species sunglasses tennis trousers".split()
)
_NO_MEN = frozenset({"caiman", "german", "human", "ottoman", "roman", "talisman"})
_DOTTED_LETTER = re.compile(r"\b([^\W\d_])\.(?=[^\W\d_]\b)")
# A word, without an apostrophe and what follows it: "dog's" -> "dog"; or a break.
_TOKEN = re.compile(r"([^\W_]+)(?:['’][^\W_]*)?|([.,;:!?()\"])")


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, with `BREAK` where punctuation parts them.

    Hyphens and underscores part words without a break, a possessive ending is dropped, and letters
    with dots between them ("T.V.") are one word.
    """
    text = _DOTTED_LETTER.sub(r"\1", text.lower())
    return [match[1] or BREAK for match in _TOKEN.finditer(text)]


def noun_forms(noun: str) -> set[str]:
    """Return a noun's singular and plural spellings, the given one among them.

    Rules guess: an unknown word may get a spelling that no text holds, which does no harm.

    Args:
        noun: one word in lower case.
    """
    if noun in _ALIKE:
        return {noun}
    singulars = _singulars(noun)
    return {noun}.union(singulars, *map(_plurals, singulars or {noun}))


def _singulars(noun: str) -> set[str]:
    """Return what a word may be the plural of; nothing if it does not look like one."""
    if noun in _SINGULAR:
        return {_SINGULAR[noun]}
    if noun.endswith("men") and len(noun) > 4:
        return {noun[:-2] + "an"}
    if len(noun) < 4 or not noun.endswith("s") or noun.endswith(("ss", "us", "is", "as")):
        return set()
    if noun.endswith("ies") and len(noun) > 4:
        return {noun[:-3] + "y"}
    if noun.endswith(("ches", "shes", "sses", "xes")):
        return {noun[:-2]}
    if noun.endswith("ses"):
        return {noun[:-1], noun[:-2]}  # horses, buses
    return {noun[:-1]}


def _plurals(noun: str) -> set[str]:
    if noun in _IRREGULAR:
        regular = {"persons"} if noun == "person" else set()
        return {_IRREGULAR[noun], *regular}
    if noun.endswith("man") and noun not in _NO_MEN:
        return {noun[:-2] + "en"}
    if noun.endswith("y") and noun[-2:-1] not in ("a", "e", "i", "o", "u", ""):
        return {noun[:-1] + "ies"}
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return {noun + "es"}
    if noun.endswith("o"):
        return {noun + "s", noun + "es"}
    return {noun + "s"}
