"""Fetch and check VOC-LT, COCO-LT, VOC 2007, COCO 2014, or the labels of NUS-WIDE.

    python scripts/prepare_data.py voc-lt --root data            # 2.5 GB to fetch
    python scripts/prepare_data.py coco-lt --root data           # 1.4 GB to fetch
    python scripts/prepare_data.py voc07 --root data             # 0.9 GB to fetch
    python scripts/prepare_data.py coco14 --root data            # 20.4 GB to fetch
    python scripts/prepare_data.py nus-wide --root data          # labels alone
    python scripts/prepare_data.py voc-lt --root data --check    # only look, no network

Run it again at any point: what is there stays, broken transfers go on where they stopped. What
cannot be fetched is listed with its URL, size, checksum and place, for a machine without network.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from datasets.files.list_files import read_labels, read_list
from scripts.data.check import check
from scripts.data.fetch import Preparation, instructions
from scripts.data.sources import Source
from scripts.data.standard_sources import SOURCES
from scripts.data.voc_annotations import differences, entries_from_annotations

SHOWN_DIFFERENCES = 20
REBUILT_LIST = "voc_lt_test_from_annotations.txt"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns 0 if the data set is complete, otherwise 1."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", choices=SOURCES)
    parser.add_argument("--root", required=True, help="folder of all data sets; made if absent")
    parser.add_argument("--check", action="store_true", help="only look; exit 1 if not complete")
    parser.add_argument(
        "--all",
        action="store_true",
        help="whole archives: also pictures and annotations that the lists do not need",
    )
    parser.add_argument(
        "--from-annotations",
        action="store_true",
        help=f"voc-lt: rebuild the test list from VOC 2007's XML files, as {REBUILT_LIST}, and "
        "compare it with the published one; exit 1 if they differ",
    )
    args = parser.parse_args(arguments)
    if args.from_annotations and args.dataset != "voc-lt":
        parser.error("--from-annotations is about the annotations of VOC: use it with voc-lt")
    if args.check and (args.all or args.from_annotations):
        parser.error("--check only looks: use it alone")
    source = SOURCES[args.dataset]()
    folder = Path(args.root).expanduser() / source.layout.folder
    try:
        if args.from_annotations:
            return compare_annotations(source, folder)
        failures = [] if args.check else Preparation(source, folder, args.all).run()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    rows = check(source, folder)
    print(f"{source.title} in {folder.resolve()}")
    print(tabulate([row[:3] for row in rows], headers=["what", "state", "found"]))
    complete = all(row.good for row in rows)
    if failures:
        print(instructions(failures))
    elif not complete:
        by_hand = not any(archive.pictures for archive in source.archives)
        advice = " Run the same command without --check." if args.check else ""
        print("Not complete." + (f" {source.layout.pictures_from}" if by_hand else advice))
    return int(not complete)


def compare_annotations(source: Source, folder: Path) -> int:
    """Write the test list that the annotations give and compare it with the published one."""
    names = read_labels(folder / source.layout.labels)
    rebuilt = entries_from_annotations(folder, names)
    target = folder / REBUILT_LIST
    part = target.with_name(f"{target.name}.part")
    part.write_text("".join(f"{e.path} {' '.join(map(str, e.labels))}\n" for e in rebuilt))
    os.replace(part, target)
    labels = sum(len(entry.labels) for entry in rebuilt)
    print(f"{target}: {len(rebuilt):,} images, {labels:,} labels")
    published = read_list(folder / source.layout.test_list, len(names))
    lines = differences(published, rebuilt, names)
    print("\n".join(lines[:SHOWN_DIFFERENCES]))
    if len(lines) > SHOWN_DIFFERENCES:
        print(f"... and {len(lines) - SHOWN_DIFFERENCES:,} more")
    print(f"{len(lines):,} of {len(published):,} images differ from {source.layout.test_list}")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
