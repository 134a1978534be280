"""Say what runs need, what of it is absent, and how long they take, for reproduce.sh.

usage: DRY_RUN=1 bash scripts/compare.sh ... | python scripts/lib/reproduction_needs.py

Exit status 1 if something is absent that the runs cannot do without.
"""

from __future__ import annotations

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
from modeling.clip.loader import published_weights, weight_path
from scripts.data.check import ABSENT, check, is_picture, read_lists
from scripts.data.fetch import DOWNLOADS, Failure, places, readable_size
from scripts.data.sources import Source, coco_lt
from scripts.data.standard_sources import SOURCES
from scripts.lib.run_hours import ASSUMPTIONS, Cached, cache_bytes, work_of

_PREPARED = {"VOCLT": "voc-lt", "COCOLT": "coco-lt"}  # DATASET.NAME to prepare_data.py's name
_WEIGHT_BYTES = {"RN50": 0.26e9, "ViT-B/16": 0.35e9}  # two a parameter, four of token embeddings


def main() -> int:
    """Read the commands on standard input; returns 1 if something is absent, else 0."""
    lines = sys.stdin.read().splitlines()
    runs = [shlex.split(line.partition(" train.py ")[2]) for line in lines if " train.py " in line]
    finished = sum("finished before" in line for line in lines)
    print(f"Runs: {len(runs) + finished}, of which {finished} are finished.")
    if not runs:
        return 0
    parser = build_parser()
    methods: dict[str, list[CfgNode]] = {}
    for words in runs:
        cfg = build_cfg(parser.parse_intermixed_args(words))
        methods.setdefault(cfg.TRAINER.NAME, []).append(cfg)
    first = [cfgs[0] for cfgs in methods.values()]
    wanted = [*_weights(first[0]), *_data(first[0]), *_sentences(first)]
    print(_hours(methods))
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
    name = _PREPARED[cfg.DATASET.NAME]
    command = f"python scripts/prepare_data.py {name} --root {cfg.DATASET.ROOT}"
    return [
        *(f"  {row.item}: {row.state}" for row in bad if row.item not in source.files),
        *places(_failures(source, folder, [row.item for row in bad])),
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
    absent = [path for path in paths if not is_picture(folder / path)]
    for archive in source.archives:
        count = sum(path.startswith(f"{archive.pictures}/") for path in absent)
        if archive.pictures and (count or len(lists) < 2):
            place = folder / DOWNLOADS / archive.file.name
            reason = f"{count:,} pictures are absent" if count else "a list is absent"
            yield Failure(archive.file, place, reason)


def _sentences(cfgs: Sequence[CfgNode]) -> Iterator[str]:
    """Print whether COCO's captions are there for a method that trains on them; what to fetch."""
    for cfg in cfgs:
        if not (cfg.DATASET.TEXT_AS_IMAGE and cfg.DATASET.TEXTS):
            continue
        path = Path(os.path.normpath(_source(cfg)[1] / os.path.expanduser(cfg.DATASET.TEXTS)))
        name = cfg.TRAINER.NAME
        print(f"Texts of {name}: {path}{'' if path.is_file() else ', absent'}.")
        if not path.is_file():
            archive = next(archive for archive in coco_lt().archives if archive.keeps)
            place = path.parents[1] / DOWNLOADS / archive.file.name
            hint = f"unpack {archive.keeps[0]} of it to {path}"
            yield from places([Failure(archive.file, place, f"{name} trains on captions", hint)])
            yield '    or     DATASET.TEXTS "", for a trial with the captions of the training list'


def _hours(methods: dict[str, list[CfgNode]]) -> str:
    """A table of each method's work, and what all of it adds up to.

    Args:
        methods: a config for each run of a trainer.
    """
    (cfg, *_), *_ = methods.values()
    source, folder = _source(cfg)
    names, lists = read_lists(source, folder)
    if cfg.DATASET.MISSING == "skip":
        lists = {k: [e for e in v if is_picture(folder / e.path)] for k, v in lists.items()}
    splits = [lists.get(split, []) for split in ("train", "test")]
    rows, cached, total = [], Cached(), 0.0
    for name, cfgs in methods.items():
        work = work_of(cfgs[0], len(names), *splits)
        if work is None:
            return (
                "Hours and disk space: not known, for docs/performance.md has no step of "
                f"{cfgs[0].MODEL.BACKBONE.NAME} with {len(names)} classes, or a list is absent."
            )
        hours = work.hours(len(cfgs), cached)
        total += hours
        rows.append([name, len(cfgs), work.epochs, work.steps, hours])
    headers = ["method", "runs", "epochs", "steps a run", "hours"]
    rows.append(["all", sum(row[1] for row in rows), None, None, total])
    return "\n".join(
        [
            "Hours on two CPU cores, reckoned from docs/performance.md, not measured:",
            tabulate(rows, headers, floatfmt=".1f", intfmt=","),
            *ASSUMPTIONS,
            f"Disk: {readable_size(cache_bytes(cfg.MODEL.BACKBONE.NAME, cached))} of features in "
            "the cache, beside pictures, weights and a few MB a run.",
        ]
    )


def _source(cfg: CfgNode) -> tuple[Source, Path]:
    """What is published of a config's data set, and its folder."""
    check_choice("DATASET.NAME", cfg.DATASET.NAME, _PREPARED)
    source = SOURCES[_PREPARED[cfg.DATASET.NAME]]()
    return source, Path(cfg.DATASET.ROOT).expanduser() / source.layout.folder


if __name__ == "__main__":
    run_command(main)
