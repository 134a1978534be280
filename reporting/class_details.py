"""What a report shows of each class under its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from reporting.contact_sheets import Entry, write_sheet
from reporting.figures import draw_histograms, draw_precision_recall
from reporting.file_names import numbered_name
from reporting.looks import Looks
from reporting.methods import Method
from reporting.page import Figure, data_uri, figure_of
from reporting.tables import ClassRow


def class_details(
    methods: Sequence[Method], looks: Sequence[Looks], rows: Sequence[ClassRow], folder: Path
) -> list[dict[str, Any]]:
    """What stands of each class under its name; its figures and sheets are written on the way."""
    names = {row.number: row.name for row in rows}
    return [
        {
            "row": row,
            "figures": _figures(methods, row, folder),
            "sheets": _sheets(looks, row, names, folder),
            "captions": [
                {"label": look.label, "entries": look.captions[row.number]}
                for look in looks
                if look.captions
            ],
            "words": [
                {"label": look.label, "tokens": tokens}
                for look in looks
                if (tokens := [token for token in look.words if token.classname == row.name])
            ],
        }
        for row in tqdm(rows, "Classes", leave=False)
    ]


def _sheets(
    looks: Sequence[Looks], row: ClassRow, names: Mapping[int, str], folder: Path
) -> list[dict[str, Any]]:
    sheets = []
    for number, look in enumerate(looks):
        if look.entries:
            entries = look.entries[row.number]
            place = folder / "sheets" / numbered_name(number, look.label)
            write_sheet(place / f"{numbered_name(row.number, row.name)}.png", entries)
            shown = [_entry(entry, row.name, names) for entry in entries]
            sheets.append({"label": look.label, "entries": shown})
    return sheets


def _figures(methods: Sequence[Method], row: ClassRow, folder: Path) -> list[Figure]:
    if not row.positives or all(method.ranking is None for method in methods):
        return []
    file = f"{numbered_name(row.number, row.name)}.svg"
    curve, spread = folder / "precision_recall" / file, folder / "histograms" / file
    draw_precision_recall(curve, methods, row.number)
    draw_histograms(spread, methods, row.number)
    values = ", ".join(
        f"{method.label} {ap:.1f}"
        for method, ap in zip(methods, row.precisions, strict=True)
        if ap is not None
    )
    return [
        figure_of(
            curve,
            f"Precision and recall of {row.name}. AP: {values}.",
            "Precision and recall, first seed",
        ),
        figure_of(
            spread,
            f"Scores of images with and without {row.name}.",
            "Shares of images by score, first seed",
        ),
    ]


def _entry(entry: Entry, name: str, names: Mapping[int, str]) -> dict[str, Any]:
    shows = ", ".join(names[c] for c in entry.present) or "none of the classes"
    framed = ", its strongest region framed" if entry.box else ""
    return {
        "kind": entry.kind,
        "uri": data_uri(entry.thumbnail, "image/jpeg") if entry.thumbnail else "",
        "alt": f"{Path(entry.path).name}, a {entry.kind} of {name}{framed}",
        "rank": entry.mistake.rank,
        "score": entry.mistake.score,
        "shows": shows,
        "reason": entry.reason,
    }
