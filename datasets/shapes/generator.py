"""Writes ShapesLT to disk in VOC-LT's layout, reproducibly and atomically.

The training counts are VOC-LT's, class by class. Which classes share a picture follows a few
latent scenes, found by swaps that leave every class count and every picture size as they are.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from common.files import write_text
from datasets.shapes.captions import describe
from datasets.shapes.glyphs import SHAPE_NAMES
from datasets.shapes.renderer import BENCHMARK, render

try:
    import fcntl
except ImportError:  # not a Unix: what killed processes leave stays
    fcntl = None

FOLDER = "shapes_lt"
_SCRATCH = f".{FOLDER}-"  # begins the names of folders that are being drawn
STAMP = "shapes_lt_version.json"
VAL_LIST = "shapes_lt_val.txt"
_SPLITS = ("train", "test", "val")  # a split's place here is part of its seed
MAX_OBJECTS = 4  # objects in one picture
JPEG_QUALITY = 92

SCENES: tuple[tuple[str, ...], ...] = (
    ("anchor", "fish", "flag", "moon"),
    ("moon", "star", "house", "tree"),
    ("flower", "butterfly", "mushroom", "tree"),
    ("crown", "flag", "bell", "key"),
    ("envelope", "heart", "arrow", "key"),
    ("lightning bolt", "umbrella", "house"),
    ("cup", "spiral", "heart", "envelope"),
)


@dataclass(frozen=True)
class ShapesSpec:
    """What to generate. The defaults are ShapesLT; tests use fewer pictures."""

    version: int = 1  # raise when the same style would be drawn or described differently
    seed: int = 2024
    train_images: int = 1142
    train_counts: tuple[int, ...] = (
        *(6, 34, 8, 14, 154, 17, 249, 29, 479, 4),
        *(240, 48, 11, 20, 775, 100, 5, 82, 7, 64),
    )  # pictures that show each class: the profile of VOC-LT
    test_images: int = 1100
    test_counts: tuple[int, ...] = (115,) * len(SHAPE_NAMES)

    def stamp(self) -> str:
        """Text that two equal specifications share, kept beside the generated files."""
        return json.dumps({**asdict(self), "style": asdict(BENCHMARK)}, sort_keys=True) + "\n"


def ensure_generated(root: str | os.PathLike[str], spec: ShapesSpec) -> Path:
    """Return ROOT/shapes_lt, generating it first where it is missing or of another version.

    The folder appears in one rename, so an interrupted run leaves nothing half made and two
    processes may call this at once. What killed ones have left beside it is removed.

    Raises:
        FileExistsError: ROOT/shapes_lt exists but was not made by this generator.
    """
    folder = Path(root).expanduser() / FOLDER
    _remove_abandoned(folder.parent)
    if not _is_fresh(folder, spec):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _sharing(folder.parent):
            _generate_beside(folder, spec)
    return folder


def _generate_beside(folder: Path, spec: ShapesSpec) -> None:
    """Generate into a folder of this process alone, then rename it."""
    scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=folder.parent))
    try:
        generate(scratch / FOLDER, spec)
        if folder.exists() and not _is_fresh(folder, spec):
            _move_away(folder, scratch / "stale")
        try:
            os.rename(scratch / FOLDER, folder)
        except OSError:
            if not _is_fresh(folder, spec):  # otherwise another process was first
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _remove_abandoned(root: Path) -> None:
    """Remove half-drawn folders, unless some process is drawing in there just now."""
    found = list(root.glob(f"{_SCRATCH}*"))
    if found:
        with _sharing(root, alone=True) as alone:
            for scratch in found if alone else ():
                shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _sharing(root: Path, alone: bool = False) -> Iterator[bool]:
    """Lock a folder together with others, or `alone`; yields False where that cannot be.

    The lock is on the folder itself and goes with the process, however that ends.
    """
    if fcntl is None:
        yield False
        return
    number = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
            held = True
        except OSError:  # somebody draws, or a file system without locks
            held = False
        yield held
    finally:
        os.close(number)


def generate(folder: Path, spec: ShapesSpec) -> None:
    """Write pictures, lists, labels, captions and the stamp into a new folder."""
    (folder / "images").mkdir(parents=True)
    labels = [f"{name} {index}" for index, name in enumerate(SHAPE_NAMES)]
    _write_lines(folder / "shapes_labels.txt", labels)
    for split in ("train", "test"):
        listed, captions = _write_split(folder, spec, split)
        _write_lines(folder / f"shapes_lt_{split}.txt", listed)
        if split == "train":
            _write_lines(folder / "shapes_lt_captions.txt", captions)
    (folder / STAMP).write_text(spec.stamp(), encoding="utf-8")


def ensure_validation(folder: Path, spec: ShapesSpec) -> None:
    """Add the validation pictures, as many and as balanced as the test ones, if they are absent.

    They come from a seed of their own; training and test pictures stay what they are. The list
    appears last, so an interrupted run leaves no split that is half there, and two processes that
    write at once write the same.
    """
    if (folder / VAL_LIST).is_file():
        return
    with _sharing(folder.parent):
        scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=folder.parent))
        try:
            (scratch / "images").mkdir()
            listed, _ = _write_split(scratch, spec, "val")
            for path in (scratch / "images").iterdir():
                os.replace(path, folder / "images" / path.name)
            write_text(folder / VAL_LIST, "\n".join(listed) + "\n")
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _write_split(folder: Path, spec: ShapesSpec, split: str) -> tuple[list[str], list[str]]:
    """Write a split's pictures; returns the rows of its list and of its captions."""
    number, like = _SPLITS.index(split), "train" if split == "train" else "test"
    counts, images = getattr(spec, f"{like}_counts"), getattr(spec, f"{like}_images")
    rows = assign_labels(counts, images, random.Random(spec.seed * 2 + number))
    listed, captions = [], []
    for index, class_ids in enumerate(tqdm(rows, desc=f"ShapesLT {split}", unit="img")):
        rng = np.random.default_rng([spec.seed, number, index])
        picture = render(class_ids, BENCHMARK, rng)
        path = f"images/{split}_{index:04d}.jpg"
        picture.image.save(folder / path, quality=JPEG_QUALITY)
        listed.append(" ".join([path, *map(str, picture.class_ids)]))
        captions.append(f"{path} {describe(picture, rng).text}")
    return listed, captions


def assign_labels(counts: Sequence[int], images: int, rng: random.Random) -> list[list[int]]:
    """Choose one to four distinct classes for every picture, meeting every class count exactly.

    Args:
        counts: [C] number of pictures that must show each class.
        images: number of pictures N.
        rng: the only source of randomness.

    Returns:
        N sorted lists of class ids.

    Raises:
        ValueError: no such assignment exists.
    """
    total = sum(counts)
    if not images <= total <= images * MAX_OBJECTS or max(counts) > images:
        raise ValueError(
            f"{images} pictures of 1 to {MAX_OBJECTS} distinct objects cannot show class counts "
            f"{tuple(counts)}: expected a sum from {images} to {images * MAX_OBJECTS} and no count "
            f"above {images}, got a sum of {total} and a largest count of {max(counts)}."
        )
    rows = _fill(counts, _picture_sizes(total, images, rng), rng)
    _mix(rows, rng, swaps=20 * total)
    return [sorted(row) for row in rows]


def _picture_sizes(total: int, images: int, rng: random.Random) -> list[int]:
    """Objects per picture, 1 to MAX_OBJECTS, summing to `total`."""
    sizes = [1] * images
    growing = list(range(images))
    for _ in range(total - images):
        position = rng.randrange(len(growing))
        sizes[growing[position]] += 1
        if sizes[growing[position]] == MAX_OBJECTS:
            growing[position] = growing[-1]
            growing.pop()
    return sizes


def _fill(counts: Sequence[int], sizes: list[int], rng: random.Random) -> list[set[int]]:
    """Gale and Ryser's greedy filling: frequent classes first, into the emptiest pictures."""
    rows: list[set[int]] = [set() for _ in sizes]
    for class_id in sorted(range(len(counts)), key=lambda index: -counts[index]):
        room = sorted(range(len(rows)), key=lambda i: (len(rows[i]) - sizes[i], rng.random()))
        for index in room[: counts[class_id]]:
            if len(rows[index]) == sizes[index]:
                raise ValueError(f"class counts {tuple(counts)} do not fit {len(sizes)} pictures.")
            rows[index].add(class_id)
    return rows


def _mix(rows: list[set[int]], rng: random.Random, swaps: int, temperature: float = 0.7) -> None:
    """Metropolis swaps of one object between two pictures; pairs of a scene attract each other."""
    affinity = _scene_affinity()

    def gain(row: set[int], leaves: int, enters: int) -> int:
        stays = row - {leaves}
        return sum(affinity[enters][k] - affinity[leaves][k] for k in stays)

    for _ in range(swaps):
        first, second = rows[rng.randrange(len(rows))], rows[rng.randrange(len(rows))]
        gives, takes = sorted(first - second), sorted(second - first)
        if not gives or not takes:
            continue
        old, new = rng.choice(gives), rng.choice(takes)
        change = gain(first, old, new) + gain(second, new, old)
        if change >= 0 or rng.random() < math.exp(change / temperature):
            first.remove(old), first.add(new)
            second.remove(new), second.add(old)


def _scene_affinity() -> list[list[int]]:
    """Number of scenes that two classes share, as a symmetric [C, C] table."""
    scenes = [{SHAPE_NAMES.index(name) for name in scene} for scene in SCENES]
    classes = range(len(SHAPE_NAMES))
    return [[sum({a, b} <= scene for scene in scenes) for b in classes] for a in classes]


def _is_fresh(folder: Path, spec: ShapesSpec) -> bool:
    stamp = folder / STAMP
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == spec.stamp()


def _move_away(folder: Path, target: Path) -> None:
    if not (folder / STAMP).is_file():
        raise FileExistsError(
            f"{folder} exists but holds no {STAMP}, so it was not generated here and is left "
            f"alone. Move it away, or choose another data root."
        )
    os.rename(folder, target)


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
