r"""Measure how well labels read from captions agree with the labels of the captions' images.

    python scripts/data/label_captions.py data/voc/voc_lt_train.txt --labels data/voc/voc_labels.txt \
        --captions data/voc/voc_lt_captions.txt --synonyms VOCLT

Precision, recall and F1 of every class, of all decisions together (micro) and averaged over the
classes (macro), beside those of a plain search for the class names. A caption need not name all
that an image shows, so recall has a ceiling well below one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from tabulate import tabulate

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from datasets.texts.caption_labeler import CaptionLabeler, normalised_name
from datasets.files.captions import captions_of
from datasets.files.list_files import read_labels, read_list
from datasets.texts.text_corpus import synonyms_of
from datasets.voc_lt import VOCLT

ROWS = {"all": slice(None), "even": slice(0, None, 2), "odd": slice(1, None, 2)}


def counts(predicted: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return hits, false alarms and misses of each class: two of [N, C] -> [3, C]."""
    predicted, targets = predicted > 0, targets > 0
    parts = (predicted & targets, predicted & ~targets, ~predicted & targets)
    return np.stack([part.sum(axis=0) for part in parts])


def scores(counted: np.ndarray) -> np.ndarray:
    """Return precision, recall and F1, in percent: counts [3, ...] -> [3, ...].

    A precision without predictions and a recall without positives are 0.
    """
    hits, alarms, misses = counted.astype(float)
    precision = hits / np.maximum(hits + alarms, 1)
    recall = hits / np.maximum(hits + misses, 1)
    f1 = 2 * hits / np.maximum(2 * hits + alarms + misses, 1)
    return 100 * np.stack([precision, recall, f1])


def substring_labels(texts: list[str], classnames: list[str]) -> np.ndarray:
    """Return [N, C], 1 where a class name stands in the text as it is."""
    return np.array([[name.lower() in text.lower() for name in classnames] for text in texts])


def table(classnames: list[str], targets: np.ndarray, *labels: np.ndarray) -> str:
    """Tabulate the scores of some labels [N, C] of the same texts, side by side."""
    counted = [counts(own, targets) for own in labels]
    with_positives = targets.any(axis=0)  # a macro average over the others would be of zeros
    per_class = [scores(own) for own in counted]  # [3, C]
    rows = [
        [name, int(targets[:, c].sum()), *(value for own in per_class for value in own[:, c])]
        for c, name in enumerate(classnames)
    ]
    positives = int(targets.sum())
    micro = [value for own in counted for value in scores(own.sum(axis=1))]
    macro = [value for own in per_class for value in own[:, with_positives].mean(axis=1)]
    rows += [["micro", positives, *micro], ["macro", positives, *macro]]
    headers = ["class", "images", "P name", "R name", "F1 name", "P table", "R table", "F1 table"]
    return tabulate(rows, headers=headers, floatfmt=".1f")


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, label the captions, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flag = parser.add_argument
    flag("list", help="image list, rows 'path id id ...'")
    flag("--labels", required=True, help="class names, rows 'name id'")
    flag("--captions", required=True, help="captions, rows 'path caption', or COCO's json")
    flag("--prefix", default="", help="folder put before the paths of the captions")
    flag("--synonyms", default="", help="VOCLT, COCOLT, ShapesLT or a file; none: names alone")
    flag("--rows", choices=ROWS, default="all", help="images of the list that are used")
    flag("--show", metavar="CLASS", help="print the captions that the table labels wrongly instead")
    args = parser.parse_args(arguments)
    try:
        names = [VOCLT.clean_names.get(name, name) for name in read_labels(args.labels)]
        entries = read_list(args.list, len(names))
        captions = captions_of([entry.path for entry in entries], args.captions, args.prefix)
        synonyms = synonyms_of(args.synonyms, names)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    captioned = [entry for entry in entries[ROWS[args.rows]] if captions[entry.path]]
    texts = [" ".join(captions[entry.path]) for entry in captioned]
    targets = np.zeros((len(texts), len(names)), dtype=bool)  # [N, C]
    for target, entry in zip(targets, captioned, strict=True):
        target[list(entry.labels)] = True
    labels = CaptionLabeler(names, synonyms).label(texts)
    if args.show is None:
        print(table(names, targets, substring_labels(texts, names), labels))
        return
    chosen = [c for c, name in enumerate(names) if normalised_name(name) == normalised_name(args.show)]
    if not chosen:
        parser.error(f"there is no class {args.show!r}, only {', '.join(names)}")
    for text, truth, label in zip(texts, targets[:, chosen], labels[:, chosen], strict=True):
        if truth != label:
            print("missed:" if truth else "not there:", text)


if __name__ == "__main__":
    main()
