"""What a method's pictures and weights show: worst mistakes, nearest captions and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common.files import write_text
from prediction import TrainedModel, load_run
from prediction.interpretation import ContextToken, as_csv, nearest_words
from reporting.captions import caption_cosines, nearest_captions, training_captions
from reporting.contact_sheets import Entry, add_thumbnails, find_entries
from reporting.file_names import numbered_name
from reporting.methods import Method
from reporting.tables import write_csv

NEAREST = 5  # captions of a class


@dataclass
class Looks:
    """What a method's weights and pictures show, for each class.

    Attributes:
        label: the method's.
        entries: its worst mistakes, of each class; empty without scores.
        captions: its nearest captions, of each class; empty without captions.
        words: its context tokens and the nearest words; empty without contexts.
        reasons: why something is missing.
    """

    label: str
    entries: list[list[Entry]] = field(default_factory=list)
    captions: list[list[tuple[float, str]]] = field(default_factory=list)
    words: list[ContextToken] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def look_at(method: Method, mistakes: int, captions: int, words: int) -> Looks:
    """Look at a method's mistakes, captions and words, as far as its files allow.

    Args:
        method: its first run is looked at.
        mistakes: of each class and kind; 0 looks at no picture.
        captions: training captions that are compared; 0 compares none.
        words: of each context token; 0 looks for none.
    """
    looks = Looks(method.label)
    if mistakes and method.ranking is not None:
        looks.entries = find_entries(method.ranking, mistakes)
    run: TrainedModel | None = None
    if looks.entries or captions or words:
        try:
            run = load_run(method.folder)
        except (ValueError, OSError) as error:
            looks.reasons.append(
                f"no regions, captions or words, for the weights do not load. {error}"
            )
    if looks.entries:
        add_thumbnails(looks.entries, run, method.label)
    if run is not None and captions:
        _look_at_captions(looks, run, captions)
    if run is not None and words and run.model.trains:
        try:
            looks.words = nearest_words(run, words)
        except ValueError as error:
            looks.reasons.append(f"no words. {error}")
    return looks


def _look_at_captions(looks: Looks, run: TrainedModel, count: int) -> None:
    try:
        texts, number = training_captions(run, count)
    except (ValueError, OSError) as error:
        looks.reasons.append(f"no captions. {error}")
        return
    if len(texts) < number:
        looks.reasons.append(f"{len(texts)} of {number} training captions were compared.")
    looks.captions = nearest_captions(caption_cosines(run, texts), texts, NEAREST)


def write_looks(folder: Path, looks: Sequence[Looks], names: Mapping[int, str]) -> None:
    """Write mistakes.csv, captions.csv and words/ of all methods, as far as there are any.

    Args:
        folder: the report's.
        looks: of each method.
        names: of the classes, by number.
    """
    if any(look.entries for look in looks):
        _write_mistakes(folder / "mistakes.csv", looks, names)
    if any(look.captions for look in looks):
        _write_captions(folder / "captions.csv", looks, names)
    for number, look in enumerate(looks):
        if look.words:
            path = folder / "words" / f"{numbered_name(number, look.label)}.csv"
            write_text(path, as_csv(look.words))


def _write_mistakes(path: Path, looks: Sequence[Looks], names: Mapping[int, str]) -> None:
    rows = [
        [
            look.label,
            names[c],
            e.kind,
            e.mistake.rank,
            e.mistake.score,
            e.path,
            *(e.box or [""] * 4),
        ]
        for look in looks
        for c, entries in enumerate(look.entries)
        for e in entries
    ]
    headers = ["method", "class", "kind", "rank", "score", "path", *("left", "top"), "right"]
    write_csv(path, [*headers, "bottom"], rows)


def _write_captions(path: Path, looks: Sequence[Looks], names: Mapping[int, str]) -> None:
    rows = [
        [look.label, names[c], place, value, text]
        for look in looks
        for c, entries in enumerate(look.captions)
        for place, (value, text) in enumerate(entries, 1)
    ]
    write_csv(path, ["method", "class", "place", "cosine", "caption"], rows)
