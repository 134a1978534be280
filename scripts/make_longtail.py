r"""Draw a long-tailed data set from a multi-label image list.

    python scripts/make_longtail.py data/mine/all.txt --labels data/mine/labels.txt \
        --output data/mine_lt --head 600 --tail 5 --test 20 --val 10 --seed 1 --plot counts.png
    python train.py --root data --dataset-config-file configs/datasets/list_lt.yaml \
        ... DATASET.FOLDER mine_lt

Writes train.txt, labels.txt and, where asked for, test.txt, val.txt and captions.txt. Pictures stay
where they are: the paths are rewritten to start from the new folder. The same arguments give the
same lists, and the training and test lists do not depend on --val and --val-seed.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from common.files import read_whole, write_figure, write_text
from common.groups import GROUPS, group_of
from datasets.files.captions import read_captions
from datasets.files.list_files import ListEntry, read_labels, read_list
from evaluation.tables.plots import GROUP_COLORS
from scripts.data.longtail_selection import PROFILES, select, wanted_counts

NAMED_CLASSES = 40  # up to so many classes the plot names each
SHOWN_CHANGES = 5


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = _parser()
    args = parser.parse_args(arguments)
    if not 1 <= args.tail <= args.head:
        parser.error(f"expected 1 <= --tail <= --head, got {args.tail} and {args.head}")
    if min(args.min, args.test, args.seed, args.val, args.val_seed) < 0:
        parser.error("--min, --test, --seed, --val and --val-seed must be 0 or more")
    try:
        make(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def make(args: argparse.Namespace) -> None:
    """Choose the images, write the lists and tell how near they come.

    Raises:
        ValueError: A file breaks its format, or a list of another content is in the way.
        OSError: A file cannot be read or written.
    """
    names = read_labels(args.labels)
    entries = read_list(args.list, len(names))
    targets = np.zeros((len(entries), len(names)), dtype=bool)  # [N, C]
    for target, entry in zip(targets, entries, strict=True):
        target[list(entry.labels)] = True
    available = targets.sum(axis=0)  # [C]
    wanted = wanted_counts(available, args.head, args.tail, args.min, args.profile)
    lists = choose(args, targets, wanted)

    output = Path(args.output)
    pictures = Path(args.pictures or Path(args.list).parent)
    files = {
        name: "".join(_row(entries[i], pictures, output) for i in chosen)
        for name, chosen in lists.items()
    }
    files["labels.txt"] = "".join(f"{name} {i}\n" for i, name in enumerate(names))
    if args.captions:
        captions = read_captions(args.captions, args.captions_prefix)
        rows = [
            f"{_moved(entries[i].path, pictures, output)} {text}\n"
            for i in lists["train.txt"]
            for text in captions.get(entries[i].path, [])
        ]
        if not rows:
            raise ValueError(f"{args.captions} has no caption for any chosen training image")
        files["captions.txt"] = "".join(rows)
    _write(output, files)
    counts = {name: targets[chosen].sum(axis=0) for name, chosen in lists.items()}
    print(report(names, available, wanted, counts, targets, lists))
    print(f"written: {', '.join(str(output / name) for name in files)}")
    if not args.test:
        print("no test.txt: give --test N, or put a test list there yourself")
    if args.plot:
        plot(names, wanted, counts["train.txt"], args.plot)
        print(f"plotted: {args.plot}")


def choose(
    args: argparse.Namespace, targets: np.ndarray, wanted: np.ndarray
) -> dict[str, np.ndarray]:
    """Choose the images of each list that is asked for; none is in two.

    Args:
        args: the command line.
        targets: labels of the source, bool [N, C].
        wanted: wanted training images of each class, int [C].

    Returns:
        Indices of images by the name of the list.
    """
    rng = np.random.default_rng(args.seed)
    lists = {"train.txt": select(targets, wanted, np.minimum(wanted, args.min), rng)}
    # Validation comes last, with a generator of its own: the other lists are the same without it.
    for name, per_class, draws in (
        ("test.txt", args.test, rng),
        ("val.txt", args.val, np.random.default_rng(args.val_seed)),
    ):
        if per_class:
            rest = np.setdiff1d(np.arange(len(targets)), np.concatenate(list(lists.values())))
            left = targets[rest]  # [N - K, C]
            flat = np.minimum(left.sum(axis=0), per_class)
            lists[name] = rest[select(left, flat, np.zeros_like(flat), draws)]
    return lists


def report(
    names: list[str],
    available: np.ndarray,
    wanted: np.ndarray,
    counts: dict[str, np.ndarray],
    targets: np.ndarray,
    lists: dict[str, np.ndarray],
) -> str:
    """A table of the classes, most wanted first, and a few lines on the whole.

    Args:
        names: class names.
        available: images of each class in the source, int [C].
        wanted: wanted training images of each class, int [C].
        counts: images of each class in each list, int [C].
        targets: labels of the source, bool [N, C].
        lists: indices of the images of each list.
    """
    train = counts["train.txt"]
    order = np.argsort(-wanted, kind="stable")
    columns = [available, wanted, *counts.values()]
    rows = [
        [names[c], *(int(column[c]) for column in columns), group_of(int(train[c]))] for c in order
    ]
    splits = [name.removesuffix(".txt") for name in counts]
    table = tabulate(rows, headers=["class", "available", "wanted", *splits, "group"])
    seen = wanted > 0
    off = np.abs(train - wanted)[seen] / wanted[seen]
    groups = [group_of(int(count)) for count in train]
    sizes = ", ".join(f"{groups.count(group)} {group}" for group in GROUPS)
    lines = [table, ""]
    for name, chosen in lists.items():
        per_image = targets[chosen].sum() / max(len(chosen), 1)
        lines.append(f"{name}: {len(chosen):,} images, {per_image:.2f} labels per image")
    lines += [
        f"source: {len(targets):,} images, {targets.sum() / len(targets):.2f} labels per image",
        f"groups: {sizes}; counts from {train.min()} to {train.max()}",
        f"{int((train == wanted).sum())} of {len(names)} classes have the wanted count; the mean "
        f"distance is {off.mean():.1%} of it",
    ]
    worst = np.argsort(-np.abs(train - wanted) / np.maximum(wanted, 1), kind="stable")
    farthest = [f"{names[c]} {train[c]} for {wanted[c]}" for c in worst if train[c] != wanted[c]]
    if farthest:
        lines.append(f"farthest: {', '.join(farthest[:SHOWN_CHANGES])}")
    return "\n".join(lines)


def plot(names: list[str], wanted: np.ndarray, achieved: np.ndarray, path: str | Path) -> None:
    """Draw wanted and achieved training counts, most wanted class first; needs matplotlib.

    Args:
        names: class names.
        wanted: wanted images of each class, int [C].
        achieved: chosen images of each class, int [C].
        path: image to write; its suffix chooses the format (png, pdf, svg).
    """
    from matplotlib.figure import Figure  # draws without a display and without global state

    order = np.argsort(-wanted, kind="stable")
    place = np.arange(1, len(names) + 1)
    groups = [group_of(int(count)) for count in achieved[order]]
    width = min(max(5.0, 0.28 * len(names) + 2), 10.0)
    figure = Figure(figsize=(width, 4.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for group, color in GROUP_COLORS.items():
        members = np.array([g == group for g in groups])
        axes.bar(
            place[members],
            achieved[order][members],
            width=0.8,
            color=color,
            alpha=0.75,
            linewidth=0,
            label=f"{group}: {members.sum()}",
        )
    edges = np.arange(len(names) + 1) + 0.5
    axes.stairs(wanted[order], edges, color="0.15", linewidth=1.4, label="wanted", baseline=None)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylim(bottom=0.7)
    axes.set_xlim(0.2, len(names) + 0.8)
    if len(names) <= NAMED_CLASSES:
        axes.set_xticks(place, [names[c] for c in order], rotation=45, ha="right", fontsize=8)
        axes.tick_params(axis="x", length=0)
    else:
        axes.set_xlabel("classes, from the most to the least wanted")
    axes.set_ylabel("training images of the class")
    axes.grid(axis="y", alpha=0.25, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, title="chosen, by group")
    write_figure(path, figure)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("list", metavar="IN.txt", help="rows: path id id ...")
    parser.add_argument("--labels", required=True, help="rows: name id")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for the new lists")
    parser.add_argument("--head", type=int, required=True, help="images of the most frequent class")
    parser.add_argument("--tail", type=int, required=True, help="images of the rarest class")
    parser.add_argument("--min", type=int, default=1, help="least images of any class; default: 1")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--profile", choices=PROFILES, default=PROFILES[0], help="head to tail")
    parser.add_argument(
        "--test", type=int, default=0, metavar="N", help="test.txt with N images of each class"
    )
    parser.add_argument(
        "--val", type=int, default=0, metavar="N", help="val.txt with N images of each class"
    )
    parser.add_argument("--val-seed", type=int, default=0, help="of val.txt alone; default: 0")
    parser.add_argument("--captions", metavar="FILE", help="captions of IN.txt's images")
    parser.add_argument("--captions-prefix", default="", help="folder put before their paths")
    parser.add_argument(
        "--pictures", metavar="DIR", help="where IN.txt's paths start; default: its folder"
    )
    parser.add_argument("--plot", metavar="FILE", help="draw wanted and achieved counts")
    return parser


def _row(entry: ListEntry, pictures: Path, output: Path) -> str:
    return " ".join([_moved(entry.path, pictures, output), *map(str, entry.labels)]) + "\n"


def _moved(path: str, pictures: Path, output: Path) -> str:
    """The path of a picture, starting from the new folder."""
    if os.path.isabs(path):
        return path
    return Path(os.path.relpath(pictures / path, output)).as_posix()


def _write(output: Path, files: dict[str, str]) -> None:
    """Write all files, unless one with other content is in the way."""
    for name, text in files.items():
        path = output / name
        if path.exists() and read_whole(path) != text.encode():
            raise ValueError(f"{path} exists and is another one; remove it or choose a new folder")
    for name, text in files.items():
        write_text(output / name, text)


if __name__ == "__main__":
    sys.exit(main())
