"""Sentences that stand for training images ("text as image"), each with its labels.

Guo et al., "Texts as Images in Prompt Tuning", CVPR 2023, section 3.1.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from yacs.config import CfgNode

from common.choices import hint
from common.config.config_rules import Choice, Number, check_values, declare_rules
from datasets.files.captions import read_captions
from datasets.files.list_files import split_path
from datasets.files.text_rows import DataFileError, Problem, iter_rows
from datasets.texts.caption_labeler import TABLES, CaptionLabeler, Synonyms, read_synonyms

TEMPLATES = Path(__file__).resolve().parents[2] / "assets" / "templates.txt"
SHOWN_CLASSES = 5

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_COCO_2014 = re.compile(r"^COCO_(?:train|val|test)2014_")  # dropped from the names in 2017
_PICTURE = re.compile(r"\.(?:jpe?g|png|bmp|gif|webp|tiff?)$", re.IGNORECASE)


def extend_cfg(cfg: CfgNode) -> None:
    """Declare the keys that this module reads."""
    # "" (the set's own captions) | captions in COCO's json | text, one sentence in a line; paths
    # are relative to the data set's folder.
    cfg.DATASET.TEXTS = ""
    cfg.DATASET.TEXT_LABELS = "words"  # words (the classes named) | images (own captions: theirs)
    cfg.DATASET.TEXT_PER_IMAGE = 0  # so many sentences of each image at most; 0: all
    cfg.DATASET.TEXT_MAX_PER_CLASS = 0  # so many sentences of each rarest class at most; 0: all
    cfg.DATASET.TEXT_TEMPLATES = 0  # copies of assets/templates.txt added for every class
    cfg.DATASET.SYNONYMS = ""  # "" (the set's own table, if any) | VOCLT | COCOLT | ... | a file


declare_rules(
    "DATASET",
    {
        "TEXT_LABELS": Choice(("words", "images")),
        "TEXT_PER_IMAGE": Number(least=0),
        "TEXT_MAX_PER_CLASS": Number(least=0),
        "TEXT_TEMPLATES": Number(least=0),
    },
)


@dataclass(frozen=True)
class TextCorpus:
    """N labelled sentences.

    Attributes:
        sentences: the N texts.
        labels: float32 [N, C], 1 present, 0 absent, -1 unknown; every row has a class present.
        notes: what was used and what was left out, for the log.
    """

    sentences: list[str]
    labels: np.ndarray
    notes: tuple[str, ...] = ()


def build_corpus(
    settings: CfgNode,
    folder: str,
    dataset: str,
    classnames: Sequence[str],
    captions: Sequence[Sequence[str]] | None,
    targets: np.ndarray,
    held_out: Collection[str],
) -> TextCorpus:
    """Gather and label the sentences that DATASET.TEXT* ask for.

    Sentences without a class are left out: all that could be learnt from them is the absence of
    what nobody mentioned. Captions in json of images in `held_out` are left out too.

    Args:
        settings: cfg.DATASET.
        folder: folder of the data set.
        dataset: its registered name; names its table of synonyms.
        classnames: C names.
        captions: captions of each training image, or None.
        targets: labels of the training images [N, C].
        held_out: paths of the validation and test images.

    Raises:
        ValueError: A key has an unusable value, there is no caption, no sentence names a class, or
            a file breaks its format (`DataFileError`).
        FileNotFoundError: A file is absent.
    """
    _check(settings)
    notes: list[str] = []
    limit = settings.TEXT_PER_IMAGE or None
    if settings.TEXTS:
        path = os.path.join(folder, os.path.expanduser(settings.TEXTS))
        sentences, image = _read_file(path, held_out, limit, notes), None
    else:
        sentences, image = _own_sentences(captions, limit, notes)
    if settings.TEXT_LABELS == "images":
        labels = targets[image].astype(np.float32)  # [T, C]
    else:
        synonyms = synonyms_of(settings.SYNONYMS or _own_table(dataset), classnames, folder)
        labels = CaptionLabeler(classnames, synonyms).label(sentences)
    kept = _useful_rows(labels, settings.TEXT_MAX_PER_CLASS, notes)
    sentences, labels = [sentences[row] for row in kept], labels[kept]
    if settings.TEXT_TEMPLATES:
        filled = template_sentences(classnames) * settings.TEXT_TEMPLATES
        one_hot = np.eye(len(classnames), dtype=np.float32)
        ids = np.arange(len(filled)) % len(classnames)
        sentences, labels = sentences + filled, np.concatenate([labels, one_hot[ids]])
        notes.append(f"{len(filled)} template sentences added")
    notes.append(f"{len(sentences)} used, {(labels > 0).sum() / len(labels):.2f} labels each")
    if absent := [n for n, row in zip(classnames, (labels > 0).T, strict=True) if not row.any()]:
        shown = ", ".join(absent[:SHOWN_CLASSES]) + (", ..." if absent[SHOWN_CLASSES:] else "")
        notes.append(f"warning: no sentence for {len(absent)} classes ({shown})")
    return TextCorpus(sentences, labels, tuple(notes))


def synonyms_of(table: str, classnames: Sequence[str], folder: str = "") -> Synonyms | None:
    """Read a table of synonyms.

    Args:
        table: one of ours, by the name of its data set, a file, or "" for none. A file must speak
            of the given classes only; of ours the rows that fit are used.
        classnames: C names.
        folder: folder that the path is relative to.

    Raises:
        FileNotFoundError: there is neither a table nor a file of that name.
        DataFileError: the file breaks its format.
    """
    if not table:
        return None
    ours = {path.stem: path for path in sorted(TABLES.glob("*.txt"))}
    if table in ours:
        return read_synonyms(ours[table])
    path = os.path.join(folder, os.path.expanduser(table))
    if os.path.isfile(path):
        return read_synonyms(path, classnames)
    advice = hint(table, ours) or f" Tables: {', '.join(ours)}."
    raise FileNotFoundError(f"DATASET.SYNONYMS: there is no file {path}.{advice}")


def template_sentences(classnames: Sequence[str]) -> list[str]:
    """Fill every template with every class name: template by template, C sentences each."""
    templates = TEMPLATES.read_text(encoding="utf-8").split("\n")
    names = [name.replace("_", " ") for name in classnames]
    return [
        (template.replace("a {}", "an {}") if name[0].lower() in "aeiou" else template).format(
            *[name] * template.count("{}")
        )
        for template in templates
        if template
        for name in names
    ]


def _check(settings: CfgNode) -> None:
    check_values(settings, "DATASET")
    if settings.TEXT_LABELS == "images" and settings.TEXTS:
        raise ValueError(
            "DATASET.TEXT_LABELS images needs the set's own captions, but DATASET.TEXTS is "
            f"{settings.TEXTS!r}. Set it to an empty text, or TEXT_LABELS to words."
        )


def _own_table(dataset: str) -> str:
    return dataset if (TABLES / f"{dataset}.txt").is_file() else ""


def _own_sentences(
    captions: Sequence[Sequence[str]] | None, limit: int | None, notes: list[str]
) -> tuple[list[str], np.ndarray]:
    """Return the sentences of a set's own captions, and the image [T] that each belongs to.

    A caption is split where a sentence ends: COCO-LT's rows hold five of them.
    """
    if captions is None:
        raise ValueError(
            "DATASET.TEXT_AS_IMAGE needs captions and the data set has none. Add a captions "
            "file (docs/data.md), or name another source: DATASET.TEXTS."
        )
    own = [
        [part for caption in texts for part in _SENTENCE_END.split(caption) if part][:limit]
        for texts in captions
    ]
    sentences = [sentence for texts in own for sentence in texts]
    notes.append(f"{len(sentences)} sentences of the set's own captions")
    return sentences, np.repeat(np.arange(len(own)), [len(texts) for texts in own])


def _read_file(
    path: str, held_out: Collection[str], limit: int | None, notes: list[str]
) -> list[str]:
    """Read a file of captions or sentences; `notes` tells of it."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"DATASET.TEXTS: there is no file {path}")
    if path.lower().endswith(".json"):
        hidden = {_picture_name(image) for image in held_out}
        captions = read_captions(path)
        allowed = [texts for image, texts in captions.items() if _picture_name(image) not in hidden]
        sentences = [text for texts in allowed for text in texts[:limit]]
        notes.append(f"{len(sentences)} captions of {len(allowed)} images in {path}")
        if len(allowed) < len(captions):
            notes.append(f"{len(captions) - len(allowed)} validation or test images left out")
        return sentences
    if limit:
        raise ValueError(f"DATASET.TEXT_PER_IMAGE is {limit}, but {path} tells of no images.")
    problems: list[Problem] = []
    sentences = []
    for line, row in iter_rows(path, problems):
        if _PICTURE.search(split_path(row)[0]):
            rule = "begins with the path of a picture; expected a sentence (see DATASET.CAPTIONS)"
            problems.append(Problem(line, row, rule))
        sentences.append(row)
    if not sentences and not problems:
        problems.append(Problem(0, "", "the file holds no sentence"))
    if problems:
        raise DataFileError(path, problems)
    notes.append(f"{len(sentences)} sentences in {path}")
    return sentences


def _picture_name(path: str) -> str:
    return _COCO_2014.sub("", os.path.basename(path))


def _useful_rows(labels: np.ndarray, limit: int, notes: list[str]) -> np.ndarray:
    """Return the rows that have a class, and of these what TEXT_MAX_PER_CLASS allows: [K]."""
    kept = np.flatnonzero((labels > 0).any(axis=1))
    if len(kept) < len(labels):
        notes.append(f"{len(labels) - len(kept)} without any class left out")
    if not len(kept):
        raise ValueError(
            f"None of {len(labels)} sentences names a class. Are they in English, and about "
            "the classes? DATASET.SYNONYMS names a table of further words for them."
        )
    if limit:
        capped = kept[_rarest_first(labels[kept], limit)]
        notes.append(f"{len(kept) - len(capped)} left out by TEXT_MAX_PER_CLASS")
        return capped
    return kept


def _rarest_first(labels: np.ndarray, limit: int) -> np.ndarray:
    """Return the rows that are among the first `limit` of their rarest class: [N, C] -> [K].

    Args:
        labels: every row has a class present. Ties go to the first class.
        limit: rows kept of each class.
    """
    counts = (labels > 0).sum(axis=0)  # [C]
    rarest = np.where(labels > 0, counts, len(labels) + 1).argmin(axis=1)  # [N]
    kept = [np.flatnonzero(rarest == c)[:limit] for c in range(labels.shape[1])]
    return np.sort(np.concatenate(kept))
