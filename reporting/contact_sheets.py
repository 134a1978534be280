"""Contact sheets: thumbnails of a class's worst mistakes, with the regions that speak for it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from tqdm import tqdm

from common.files import write_whole
from loading.images import PictureError, read_picture
from prediction import TrainedModel
from prediction.region_maps import region_cosines, view_size
from reporting.methods import Ranking
from reporting.mistakes import Mistake, worst_mistakes
from reporting.regions import Box, region_box

SIDE = 112  # pixels of a thumbnail's longer side
_BATCH = 16
_GAP = 4  # pixels between the thumbnails of a sheet
_QUALITY = 80  # of JPEG
KINDS = ("false positive", "miss")


@dataclass
class Entry:
    """A mistake as a report shows it.

    Attributes:
        kind: one of `KINDS`.
        mistake: the image's place, score and rank.
        path: of the picture.
        present: columns of the classes it shows.
        box: the region with the highest similarity to the class; None where there is none.
        thumbnail: JPEG; None where the picture cannot be read.
        reason: why it cannot be read.
    """

    kind: str
    mistake: Mistake
    path: str
    present: list[int]
    box: Box | None = None
    thumbnail: bytes | None = None
    reason: str = ""


def find_entries(ranking: Ranking, count: int) -> list[list[Entry]]:
    """Entries of each class, without pictures yet: false positives, then misses.

    Args:
        ranking: of a run.
        count: of each kind at most.
    """
    present = [(row == 1).nonzero().flatten().tolist() for row in ranking.targets]
    found = []
    for scores, targets in zip(ranking.scores.T, ranking.targets.T, strict=True):
        kinds = zip(KINDS, worst_mistakes(scores, targets, count), strict=True)
        found.append(
            [
                Entry(kind, mistake, ranking.paths[mistake.image], present[mistake.image])
                for kind, mistakes in kinds
                for mistake in mistakes
            ]
        )
    return found


def add_thumbnails(
    entries: Sequence[Sequence[Entry]], run: TrainedModel | None, label: str
) -> None:
    """Read the pictures of all entries, each once, and draw their regions.

    Args:
        entries: of each class.
        run: the model whose regions are drawn; None draws none.
        label: the method's, for the progress bar.
    """
    by_path: dict[str, list[tuple[int, Entry]]] = {}
    for column, members in enumerate(entries):
        for entry in members:
            by_path.setdefault(entry.path, []).append((column, entry))
    paths = list(by_path)
    batches = [paths[i : i + _BATCH] for i in range(0, len(paths), _BATCH)]
    for batch in tqdm(batches, f"Contact sheets, {label}", disable=len(batches) < 2, leave=False):
        pictures = _read(batch, by_path)
        if run is not None and run.model.clip.uses_regions and pictures:
            _find_regions(run, pictures, by_path)
        for path, picture in pictures.items():
            for _, entry in by_path[path]:
                entry.thumbnail = draw_thumbnail(picture, entry.box)


def draw_thumbnail(picture: Image.Image, box: Box | None) -> bytes:
    """A small JPEG of a picture, with a frame around a part of it.

    The frame is white between black lines: seen on any ground and by everybody.
    """
    small = picture.copy()
    small.thumbnail((SIDE, SIDE))
    if box is not None:
        width, height = small.size
        left, top = round(box.left * width), round(box.top * height)
        right = max(round(box.right * width) - 1, left)
        bottom = max(round(box.bottom * height) - 1, top)
        draw = ImageDraw.Draw(small)
        for grow, colour in ((2, "black"), (1, "white"), (0, "black")):
            draw.rectangle((left - grow, top - grow, right + grow, bottom + grow), outline=colour)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def write_sheet(path: Path, entries: Sequence[Entry]) -> None:
    """Write the thumbnails of a class as one PNG: false positives above misses."""
    rows = [[e.thumbnail for e in entries if e.kind == kind and e.thumbnail] for kind in KINDS]
    rows = [row for row in rows if row]
    if not rows:
        return
    cell = SIDE + _GAP
    sheet = Image.new("RGB", (max(map(len, rows)) * cell + _GAP, len(rows) * cell + _GAP), "white")
    for y, row in enumerate(rows):
        for x, thumbnail in enumerate(row):
            with Image.open(io.BytesIO(thumbnail)) as image:
                sheet.paste(image, (_GAP + x * cell, _GAP + y * cell))
    write_whole(path, lambda file: sheet.save(file, "PNG"))


def _read(
    paths: Sequence[str], by_path: Mapping[str, list[tuple[int, Entry]]]
) -> dict[str, Image.Image]:
    pictures = {}
    for path in paths:
        try:
            pictures[path] = read_picture(path)
        except PictureError as error:
            for _, entry in by_path[path]:
                entry.reason = str(error)
    return pictures


def _find_regions(
    run: TrainedModel,
    pictures: Mapping[str, Image.Image],
    by_path: Mapping[str, list[tuple[int, Entry]]],
) -> None:
    images = torch.stack([run.transform(picture) for picture in pictures.values()])
    features = run.features(images)
    best = region_cosines(run, features).argmax(dim=1).tolist()  # [B, C]
    stride = run.model.clip.image_encoder.stride
    inputs = {**run.cfg.INPUT, "SIZE": view_size(run, features)}
    for regions, (path, picture) in zip(best, pictures.items(), strict=True):
        for column, entry in by_path[path]:
            entry.box = region_box(regions[column], stride, inputs, *picture.size)
