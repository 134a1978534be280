"""Writes a data set of shapes to disk in VOC-LT's layout, reproducibly and atomically."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from common.files import write_text
from datasets.shapes.captions import describe
from datasets.shapes.renderer import render
from datasets.shapes.specs import SPLITS, ShapesSpec

try:
    import fcntl
except ImportError:  # not a Unix: what killed processes leave stays
    fcntl = None

LABELS = "shapes_labels.txt"
JPEG_QUALITY = 92


def ensure_generated(root: str | os.PathLike[str], spec: ShapesSpec) -> Path:
    """Return the set's folder, generating it first where it is missing or of another version.

    The folder appears in one rename, so an interrupted run leaves nothing half made and two
    processes may call this at once. What killed ones have left beside it is removed.

    Raises:
        FileExistsError: the folder exists but was not made by this generator.
    """
    folder = Path(root).expanduser() / spec.folder
    _remove_abandoned(folder.parent, spec)
    if not _is_fresh(folder, spec):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _sharing(folder.parent):
            _generate_beside(folder, spec)
    return folder


def _generate_beside(folder: Path, spec: ShapesSpec) -> None:
    """Generate into a folder of this process alone, then rename it."""
    scratch = Path(tempfile.mkdtemp(prefix=_scratch_prefix(spec), dir=folder.parent))
    try:
        generate(scratch / spec.folder, spec)
        if folder.exists() and not _is_fresh(folder, spec):
            _move_away(folder, scratch / "stale", spec)
        try:
            os.rename(scratch / spec.folder, folder)
        except OSError:
            if not _is_fresh(folder, spec):  # otherwise another process was first
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _scratch_prefix(spec: ShapesSpec) -> str:
    """Begins the names of folders that are being drawn."""
    return f".{spec.folder}-"


def _remove_abandoned(root: Path, spec: ShapesSpec) -> None:
    """Remove half-drawn folders, unless some process is drawing in there just now."""
    found = list(root.glob(f"{_scratch_prefix(spec)}*"))
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
    labels = [f"{name} {index}" for index, name in enumerate(spec.class_names)]
    _write_lines(folder / LABELS, labels)
    for split in ("train", "test"):
        listed, captions = _write_split(folder, spec, split)
        _write_lines(folder / spec.list_file(split), listed)
        if split == "train":
            _write_lines(folder / spec.caption_file, captions)
    (folder / spec.stamp_file).write_text(spec.stamp(), encoding="utf-8")


def ensure_validation(folder: Path, spec: ShapesSpec) -> None:
    """Add the validation pictures, as many and as balanced as the test ones, if they are absent.

    They come from a seed of their own; training and test pictures stay what they are. The list
    appears last, so an interrupted run leaves no split that is half there, and two processes that
    write at once write the same.
    """
    if (folder / spec.list_file("val")).is_file():
        return
    with _sharing(folder.parent):
        scratch = Path(tempfile.mkdtemp(prefix=_scratch_prefix(spec), dir=folder.parent))
        try:
            (scratch / "images").mkdir()
            listed, _ = _write_split(scratch, spec, "val")
            for path in (scratch / "images").iterdir():
                os.replace(path, folder / "images" / path.name)
            write_text(folder / spec.list_file("val"), "\n".join(listed) + "\n")
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _write_split(folder: Path, spec: ShapesSpec, split: str) -> tuple[list[str], list[str]]:
    """Write a split's pictures; returns the rows of its list and of its captions."""
    number, listed, captions = SPLITS.index(split), [], []
    rows = tqdm(spec.compose(split), desc=f"{spec.name} {split}", unit="img")
    for index, shapes in enumerate(rows):
        rng = np.random.default_rng([spec.seed, number, index])
        picture = render(shapes, spec.style, rng)
        path = f"images/{split}_{index:04d}.jpg"
        picture.image.save(folder / path, quality=JPEG_QUALITY)
        listed.append(" ".join([path, *map(str, spec.classes_of(picture.class_ids))]))
        captions.append(f"{path} {describe(picture, rng).text}")
    return listed, captions


def _is_fresh(folder: Path, spec: ShapesSpec) -> bool:
    stamp = folder / spec.stamp_file
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == spec.stamp()


def _move_away(folder: Path, target: Path, spec: ShapesSpec) -> None:
    if not (folder / spec.stamp_file).is_file():
        raise FileExistsError(
            f"{folder} exists but holds no {spec.stamp_file}, so it was not generated here and is "
            f"left alone. Move it away, or choose another data root."
        )
    os.rename(folder, target)


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
