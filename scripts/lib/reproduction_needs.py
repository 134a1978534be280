"""Say what runs need, what of it is absent, and how long they take, for reproduce.sh.

usage: DRY_RUN=1 bash scripts/compare.sh ... | python scripts/lib/reproduction_needs.py

Exit status 1 if something is absent that the runs cannot do without.
"""

from __future__ import annotations

import functools
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tabulate import tabulate
from yacs.config import CfgNode

ROOT = Path(os.path.abspath(__file__)).parents[2]
sys.path.insert(0, str(ROOT))

from command_line import build_parser
from common.choices import check_choice
from common.user_errors import run_command
from configuration import build_cfg
from datasets.base.class_split import read_class_split
from datasets.files.list_files import ListEntry, read_labels
from datasets.files.text_rows import DataFileError
from datasets.nus_wide import TAGS_LAYOUT, ZERO_SHOT
from modeling.clip.loader import published_weights, weight_path
from scripts.data.check import ABSENT, Row, check, is_picture, read_lists
from scripts.data.fetch import DOWNLOADS, Failure, places, readable_size
from scripts.data.sources import Source, coco_lt
from scripts.data.standard_sources import SOURCES
from scripts.lib.run_hours import ASSUMPTIONS, Cached, cache_bytes, work_of

_PREPARED = {  # DATASET.NAME to prepare_data.py's name
    **{"VOCLT": "voc-lt", "COCOLT": "coco-lt"},
    **{"VOC07": "voc07", "COCO14": "coco14", "NUSWIDE": "nus-wide"},
}
_CONCEPTS_AND_TAGS = 81 + 925
# Two a parameter, four of token embeddings.
_WEIGHT_BYTES = {"RN50": 0.26e9, "RN101": 0.29e9, "ViT-B/16": 0.35e9, "ViT-B/32": 0.35e9}


def main() -> int:
    """Read the commands on standard input; returns 1 if something is absent, else 0."""
    lines = sys.stdin.read().splitlines()
    runs = [shlex.split(line.partition(" train.py ")[2]) for line in lines if " train.py " in line]
    finished = sum("finished before" in line for line in lines)
    print(f"Runs: {len(runs) + finished}, of which {finished} are finished.")
    if not runs:
        return 0
    parser = build_parser()
    rows: dict[Path, list[CfgNode]] = {}  # runs that differ in their seed
    for words in runs:
        cfg = build_cfg(parser.parse_intermixed_args(words))
        rows.setdefault(Path(cfg.OUTPUT_DIR).parent, []).append(cfg)
    firsts = [cfgs[0] for cfgs in rows.values()]
    towers = {cfg.MODEL.BACKBONE.NAME: cfg for cfg in firsts}
    wanted = [line for cfg in towers.values() for line in _weights(cfg)]
    wanted += [*_data(firsts[0]), *_sentences(firsts)]
    print(_hours(list(rows.values())))
    if wanted:
        print("\nAbsent. Place these files as told, and run the same command again:")
        print("\n".join(wanted))
    return int(bool(wanted))


def _weights(cfg: CfgNode) -> list[str]:
    """Print whether the weights are there; returns what to fetch if not."""
    name = cfg.MODEL.BACKBONE.NAME
    address, place = published_weights(name) or ("", weight_path(name))
    if place.is_file():
        print(f"Weights: {place}, {readable_size(place.stat().st_size)}.")
        return []
    about = f"about {readable_size(_WEIGHT_BYTES[name])}, " if name in _WEIGHT_BYTES else ""
    size = f"{about}SHA256 {address.split('/')[-2]}"
    print(f"Weights: {place}, absent.")
    trial = "    or     MODEL.BACKBONE.NAME FILE, for a trial with other weights"
    return [f"  {address}", f"    to     {place}", f"    size   {size}", trial]


def _data(cfg: CfgNode) -> list[str]:
    """Print the table of the data set's files; returns what to fetch of it."""
    source, folder = _source(cfg)
    rows = check(source, folder)
    print(f"{source.title} in {folder}")
    print(tabulate([row[:3] for row in rows], headers=["what", "state", "found"]))
    trial = cfg.DATASET.MISSING == "skip"
    bad = [row for row in rows if not row.good and (not trial or row.state == ABSENT)]
    if not bad:
        return []
    name = _prepared(cfg)
    command = f"python scripts/prepare_data.py {name} --root {cfg.DATASET.ROOT}"
    return [
        *(f"  {row.item}: {row.state}" for row in bad if row.item not in source.files),
        *places(_failures(source, folder, [row.item for row in bad])),
        *_pictures_by_hand(source, bad),
        f"    then   {command}",
        "    or     that command alone, where there is a network",
        *([] if trial else ["    or     DATASET.MISSING skip, for a trial with what is there"]),
    ]


def _failures(source: Source, folder: Path, items: Sequence[str]) -> Iterator[Failure]:
    """The small files among `items`, and the archives of absent pictures."""
    for name in source.files:
        if name in items:
            yield Failure(source.files[name], folder / name, "absent, or not as published")
    _, lists = read_lists(source, folder)
    paths = (entry.path for entries in lists.values() for entry in entries)
    absent = [path for path in paths if not is_picture(source.layout.picture(str(folder), path))]
    for archive in source.archives:
        if source.read and len(lists) < 2 and not archive.pictures:
            place = folder / DOWNLOADS / archive.file.name
            yield Failure(archive.file, place, "the lists are made of it")
        count = sum(path.startswith(f"{archive.pictures}/") for path in absent)
        if archive.pictures and (count or len(lists) < 2):
            place = folder / DOWNLOADS / archive.file.name
            reason = f"{count:,} pictures are absent" if count else "a list is absent"
            yield Failure(archive.file, place, reason)


def _pictures_by_hand(source: Source, bad: Sequence[Row]) -> Iterator[str]:
    """Where pictures come from that no archive holds, if any is absent."""
    if "pictures" in bad[-1].item and not any(archive.pictures for archive in source.archives):
        yield f"  {source.layout.pictures_from}"


def _sentences(cfgs: Sequence[CfgNode]) -> Iterator[str]:
    """Print whether the texts are there for a method that trains on them; what to fetch."""
    texts = {}
    for cfg in cfgs:
        if cfg.DATASET.TEXT_AS_IMAGE and cfg.DATASET.TEXTS:
            place = _source(cfg)[1] / os.path.expanduser(cfg.DATASET.TEXTS)
            texts[Path(os.path.normpath(place))] = cfg.TRAINER.NAME
    for path, name in texts.items():
        print(f"Texts of {name}: {path}{'' if path.is_file() else ', absent'}.")
        if path.is_file():
            continue
        archive = next(archive for archive in coco_lt().archives if archive.keeps)
        if path.name not in archive.keeps[0]:
            yield f"  {path}: {name} trains on it; the head of its recipe tells where it comes from"
            continue
        place = path.parents[1] / DOWNLOADS / archive.file.name
        hint = f"unpack {archive.keeps[0]} of it to {path}"
        yield from places([Failure(archive.file, place, f"{name} trains on captions", hint)])
        yield '    or     DATASET.TEXTS "", for a trial with the captions of the training list'


def _hours(rows: Sequence[Sequence[CfgNode]]) -> str:
    """A table of the work of each method, and what all of it adds up to.

    Args:
        rows: runs that differ in their seed.
    """
    cfg = rows[0][0]
    source, folder = _source(cfg)
    names, lists = read_lists(source, folder)
    if cfg.DATASET.MISSING == "skip":
        there = functools.partial(_has_picture, source, folder)
        lists = {split: list(filter(there, entries)) for split, entries in lists.items()}
    counts = {"train": source.facts.train, "test": source.facts.test}
    listed = [
        f"Its list of {split} images is absent: {n:,} are taken, as published."
        for split, n in counts.items()
        if split not in lists
    ]
    splits = [lists.get(split) or _as_published(source, n) for split, n in counts.items()]
    cached, table = Cached(), {}
    for cfg, *more in rows:
        work = work_of(cfg, _num_classes(cfg, source, names), *splits)
        if work is None:
            return (
                "Hours and disk space: not known, for docs/performance.md has no step of "
                f"{cfg.MODEL.BACKBONE.NAME}."
            )
        line = table.setdefault((cfg.TRAINER.NAME, work.epochs, work.steps), [0, 0.0])
        line[0] += 1 + len(more)
        line[1] += work.hours(1 + len(more), cached)
    told = [[name, runs, *work, hours] for (name, *work), (runs, hours) in table.items()]
    told.append(
        ["all", *(sum(row[i] for row in told) if i in (1, 4) else None for i in range(1, 5))]
    )
    headers = ["method", "runs", "epochs", "steps a run", "hours"]
    return "\n".join(
        [
            "Hours on two CPU cores, reckoned from docs/performance.md, not measured:",
            *listed,
            tabulate(told, headers, floatfmt=".1f", intfmt=","),
            *ASSUMPTIONS,
            f"Disk: {readable_size(cache_bytes(cached))} of features in the cache, beside "
            "pictures, weights and a few MB a run.",
        ]
    )


def _num_classes(cfg: CfgNode, source: Source, names: Sequence[str]) -> int:
    """Classes of a run, of all those of the data set if files are absent that tell more."""
    split, folder = cfg.DATASET.CLASS_SPLIT, _source(cfg)[1]
    try:
        if split == ZERO_SHOT:
            return len(read_labels(folder / TAGS_LAYOUT.labels))
        if split:
            return len(read_class_split(split, str(folder), names).kept)
    except (OSError, DataFileError):
        return _CONCEPTS_AND_TAGS if split == ZERO_SHOT else source.facts.classes
    return len(names) or source.facts.classes


def _as_published(source: Source, count: int) -> list[ListEntry]:
    """So many entries, with a class each in turn."""
    return [ListEntry("", (i % source.facts.classes,), i) for i in range(count)]


def _has_picture(source: Source, folder: Path, entry: ListEntry) -> bool:
    return is_picture(source.layout.picture(str(folder), entry.path))


def _source(cfg: CfgNode) -> tuple[Source, Path]:
    """What is published of a config's data set, and its folder."""
    source = SOURCES[_prepared(cfg)]()
    return source, Path(cfg.DATASET.ROOT).expanduser() / source.layout.folder


def _prepared(cfg: CfgNode) -> str:
    """The name of a config's data set in prepare_data.py."""
    check_choice("DATASET.NAME", cfg.DATASET.NAME, _PREPARED)
    return _PREPARED[cfg.DATASET.NAME] + ("-asl" if cfg.DATASET.VARIANT == "asl" else "")


if __name__ == "__main__":
    run_command(main)
