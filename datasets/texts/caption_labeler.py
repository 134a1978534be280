"""Which classes a sentence names: phrases of a synonym table, the longest first.

After TaI-DPT (Guo et al., "Texts as Images in Prompt Tuning", CVPR 2023, section 3.1), where labels
of captions come from their nouns. Here no language model takes part, and the same table always
gives the same labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.choices import nearest
from datasets.files.text_rows import (
    SHOWN_CHARACTERS,
    SHOWN_PROBLEMS,
    DataFileError,
    Problem,
    iter_rows,
)
from datasets.texts.word_forms import BREAK, noun_forms, words

TABLES = Path(__file__).parent / "synonyms"
NO_CLASS = "-"  # heads the rows of phrases that name no class
_NOUN = "(noun)"

# What may follow a noun: "an orange on a plate", but not "an orange shirt".
_AFTER_NOUN = frozenset(
    f"{BREAK} a about above across against all along alongside also among an and around as at atop "
    "be been before behind being below beneath beside besides between both but by can down during "
    "each for from had has have he her his if in inside into is it its like near next not of off "
    "on onto or other out outside over past she so some than that the their them then there these "
    "they this those through to together too toward towards under up upon was were what when where "
    "which while who whose will with within without".split()
)
_NOUNS_IN_ING = frozenset(
    "awning bedding building ceiling clothing covering earring flooring frosting icing lighting "
    "painting parking railing ring stocking string topping wing wrapping".split()
)


@dataclass(frozen=True)
class Synonyms:
    """A table of synonyms.

    Attributes:
        of_class: phrases of each class name, "(noun)" behind those that no noun may follow.
        no_class: phrases that name no class and hide those inside them.
    """

    of_class: Mapping[str, Sequence[str]]
    no_class: Sequence[str] = ()


class _Phrase(NamedTuple):
    words: tuple[str, ...]
    classes: tuple[int, ...]
    noun: bool  # only where no noun follows

    @property
    def rank(self) -> tuple[int, int, tuple[str, ...]]:
        """Longest phrases first, then by the alphabet."""
        return -len(self.words), -sum(map(len, self.words)), self.words


class CaptionLabeler:
    """Labels sentences with the classes that they name.

    A phrase matches whole words, whatever their case, in the singular and the plural; a phrase of
    several words also run together ("motor bike", "motorbike"). The longest phrases are matched
    first and use their words up: "baseball bat" is no "baseball".

    Args:
        classnames: C names; each names itself.
        synonyms: more phrases; rows of names that are not among the C are not used.

    Raises:
        ValueError: A name or a synonym holds no word.
    """

    def __init__(self, classnames: Sequence[str], synonyms: Synonyms | None = None) -> None:
        self.num_classes = len(classnames)
        synonyms = synonyms or Synonyms({})
        rows = {normalised_name(name): phrases for name, phrases in synonyms.of_class.items()}
        # The ids, and whether a noun may follow, of every phrase in all of its forms.
        found: dict[tuple[str, ...], tuple[set[int], bool]] = {}
        for index, name in enumerate(classnames):
            listed = rows.get(normalised_name(name), ())
            restricted = normalised_name(f"{name} {_NOUN}") in map(normalised_name, listed)
            for phrase in (*listed, *(() if restricted else (name,))):
                for form in _forms(phrase):
                    ids, noun = found.get(form, (set(), True))
                    found[form] = ids | {index}, noun and phrase.endswith(_NOUN)
        for phrase in synonyms.no_class:
            for form in _forms(phrase):
                found.setdefault(form, (set(), False))
        self._by_first_word: dict[str, list[_Phrase]] = {}
        for form, (ids, noun) in found.items():
            phrase = _Phrase(form, tuple(sorted(ids)), noun)
            self._by_first_word.setdefault(form[0], []).append(phrase)

    def classes(self, sentence: str) -> list[int]:
        """Return the ids of the classes that a sentence names, ascending."""
        text = words(sentence)
        matches = sorted(
            (phrase.rank, start, phrase)
            for start, word in enumerate(text)
            for phrase in self._by_first_word.get(word, ())
            if tuple(text[start : start + len(phrase.words)]) == phrase.words
            and not (phrase.noun and _noun_follows(text, start + len(phrase.words)))
        )
        free = [True] * len(text)
        named: set[int] = set()
        for _, start, phrase in matches:
            span = slice(start, start + len(phrase.words))
            if all(free[span]):
                free[span] = [False] * len(phrase.words)
                named.update(phrase.classes)
        return sorted(named)

    def label(self, sentences: Sequence[str]) -> np.ndarray:
        """Return the labels of N sentences, float32 [N, C]: 1 named, 0 not."""
        labels = np.zeros((len(sentences), self.num_classes), dtype=np.float32)  # [N, C]
        for row, sentence in zip(labels, sentences, strict=True):
            row[self.classes(sentence)] = 1.0
        return labels


def read_synonyms(path: str | Path, classnames: Sequence[str] | None = None) -> Synonyms:
    """Read a table with rows `class: synonym, synonym ...`.

    Rows of one class add up. Rows of `-` hold phrases that name no class, rows that begin with `#`
    are comments.

    Args:
        path: the file.
        classnames: if given, every row must belong to one of them.

    Raises:
        DataFileError: A row has no colon, no synonym or a synonym without a word, or belongs to no
            class; the file holds no row.
        OSError: the file cannot be read.
    """
    problems: list[Problem] = []
    names = {normalised_name(name): name for name in classnames or ()}
    of_class: dict[str, list[str]] = {}
    for line, row in iter_rows(path, problems):
        if row.startswith("#"):
            continue
        name, colon, rest = (part.strip() for part in row.partition(":"))
        phrases = [phrase.strip().lower() for phrase in rest.split(",")]
        if not colon or not name:
            problems.append(Problem(line, row, "expected 'class: synonym, synonym'"))
        elif not all(words(phrase.removesuffix(_NOUN)) for phrase in phrases):
            problems.append(Problem(line, row, "a synonym is empty"))
        elif names and name != NO_CLASS and normalised_name(name) not in names:
            rule = f"there is no class {name[:SHOWN_CHARACTERS]!r}."
            if len(problems) < SHOWN_PROBLEMS:  # of the others nobody reads it, and it takes long
                rule += (
                    f" Did you mean {names[nearest(normalised_name(name), names, cutoff=0.0)]!r}?"
                )
            problems.append(Problem(line, row, rule))
        else:
            of_class.setdefault(name, []).extend(phrases)
    if not of_class and not problems:
        problems.append(Problem(0, "", "the file holds no row 'class: synonym, synonym'"))
    if problems:
        raise DataFileError(path, problems)
    no_class = of_class.pop(NO_CLASS, [])
    return Synonyms(of_class, no_class)


def normalised_name(name: str) -> str:
    """Return a class name without case, blanks, underscores and hyphens, for comparisons."""
    return "".join(words(name))


def _forms(phrase: str) -> set[tuple[str, ...]]:
    """Return all spellings of a phrase: singular and plural, in several words and in one."""
    parts = [word for word in words(phrase.removesuffix(_NOUN)) if word != BREAK]
    if not parts:
        raise ValueError(f"{phrase!r} holds no word, so no sentence can name it.")
    # "cup of coffee" has its plural before "of", "slice of orange" may have it at both places.
    heads = {len(parts) - 1, *([parts.index("of") - 1] if "of" in parts[1:] else [])}
    spellings = {tuple(parts)}
    for head in heads:
        spellings |= {
            (*spelling[:head], form, *spelling[head + 1 :])
            for spelling in spellings
            for form in noun_forms(parts[head])
        }
    return spellings | {("".join(spelling),) for spelling in spellings}


def _noun_follows(text: Sequence[str], end: int) -> bool:
    """Return whether the word behind a phrase makes it part of a longer noun."""
    if end == len(text) or text[end] in _AFTER_NOUN:
        return False
    word = text[end]
    return not word.endswith("ing") or word in _NOUNS_IN_ING
