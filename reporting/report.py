"""A whole report: reads runs, writes the page and its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from common.files import write_text
from evaluation.plots import plot_frequency_ap
from evaluation.tables import METRICS
from prediction import TrainedModel, load_run
from reporting.captions import caption_cosines, nearest_captions, training_captions
from reporting.confusion import MIN_IMAGES, confusion, most_confused
from reporting.contact_sheets import KINDS, Entry, add_thumbnails, find_entries, write_sheet
from reporting.curves import learning_curves
from reporting.figures import (
    check_matplotlib,
    draw_confusion,
    draw_histograms,
    draw_learning,
    draw_precision_recall,
    drawing,
    learning_names,
)
from reporting.methods import Method, read_methods
from reporting.page import Figure, data_uri, figure_of, render_page
from reporting.tables import (
    ClassRow,
    class_rows,
    method_rows,
    reference,
    run_rows,
    write_classes,
    write_confusion,
    write_csv,
    write_runs,
)

PAIRS = 15  # most confused ones in a table


@dataclass
class Looks:
    """What a method's weights and pictures show, for each class.

    Attributes:
        label: the method's.
        entries: its worst mistakes, of each class; empty without scores.
        captions: its nearest captions, of each class; empty without captions.
        reasons: why something is missing.
    """

    label: str
    entries: list[list[Entry]] = field(default_factory=list)
    captions: list[list[tuple[float, str]]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def write_report(
    paths: Sequence[str | Path],
    folder: str | Path,
    mistakes: int = 4,
    captions: int = 2000,
    nearest: int = 5,
) -> Path:
    """Write the report on some runs.

    Args:
        paths: output folders of runs, or folders that hold several.
        folder: where to; what it holds under the same names is replaced.
        mistakes: thumbnails of each class, method and kind; 0 looks at no picture.
        captions: training captions that are compared with the classes; 0 compares none.
        nearest: captions shown of each class.

    Returns:
        The page, `folder`/index.html.

    Raises:
        FileNotFoundError: a folder holds no results.json.
        ValueError: the runs cannot stand side by side.
        ImportError: matplotlib is not installed.
    """
    check_matplotlib()
    methods, folder = read_methods(paths), Path(folder)
    write_runs(folder / "runs.csv", methods)
    write_classes(folder / "classes.csv", methods)
    looks = [_look(method, mistakes, captions, nearest) for method in methods]
    rows = class_rows(methods)
    page = folder / "index.html"
    parts = {
        **_summary(methods, rows),
        **_frequency(methods, folder),
        **_learning(methods, folder),
        **_scores(methods, folder, [row.number for row in rows]),
        "details": _details(methods, looks, rows, folder),
        "model_reasons": [f"{look.label}: {reason}" for look in looks for reason in look.reasons],
        "kinds": KINDS,
    }
    write_text(page, render_page(parts))
    return page


def _summary(methods: Sequence[Method], rows: list[ClassRow]) -> dict[str, Any]:
    first = methods[0].runs[0]
    runs = run_rows(methods)
    return {
        "title": f"Report on {first['dataset']}, {first['split']} split",
        "facts": f"{len(runs)} run(s) of {len(methods)} method(s), {len(rows)} classes, "
        f"{first['score']} scores, backbone {first['backbone']}",
        "seeds": len(runs) > len(methods),
        "metrics": list(METRICS),
        "methods": method_rows(methods),
        "runs": runs,
        "labels": [method.label for method in methods],
        "reference": reference(methods),
        "rows": rows,
        "names": [row["name"] for row in first["per_class"]],
    }


def _frequency(methods: Sequence[Method], folder: Path) -> dict[str, Any]:
    path = folder / "frequency_ap.svg"
    try:
        with drawing():
            plot_frequency_ap([run for method in methods for run in method.runs], path)
    except ValueError as error:  # training counts are unknown
        return {"frequency": None, "frequency_reason": str(error)}
    alt = "Average precision of each class against its training images; see the table of classes."
    return {"frequency": figure_of(path, alt), "frequency_reason": ""}


def _learning(methods: Sequence[Method], folder: Path) -> dict[str, Any]:
    curves = [
        [learning_curves(Path(run["path"]).parent) for run in method.runs] for method in methods
    ]
    names, figures = learning_names(curves), []
    for name in names:
        path = folder / "learning" / f"{name.replace('/', '_')}.svg"
        draw_learning(path, [method.label for method in methods], curves, name)
        figures.append(figure_of(path, f"{name} over training", name))
    reason = "" if names else "The runs left no TensorBoard files with several steps."
    return {"learning": figures, "learning_reason": reason}


def _scores(methods: Sequence[Method], folder: Path, order: Sequence[int]) -> dict[str, Any]:
    scored = [method for method in methods if method.ranking is not None]
    histogram, confusions = None, []
    if scored:
        path = folder / "histograms.svg"
        draw_histograms(path, methods, None)
        histogram = figure_of(path, "Shares of present and of absent classes by score.")
    for number, method in enumerate(scored):
        confusions.append(_confusion(method, folder, f"{number}_{_slug(method.label)}", order))
    return {
        "histogram": histogram,
        "confusions": confusions,
        "min_images": MIN_IMAGES,
        "score_reasons": [f"{m.label}: {m.reason}" for m in methods if m.ranking is None],
    }


def _confusion(method: Method, folder: Path, stem: str, order: Sequence[int]) -> dict[str, Any]:
    names = [row["name"] for row in method.runs[0]["per_class"]]
    found = confusion(method.ranking.scores, method.ranking.targets)
    path = folder / "confusion" / f"{stem}.png"
    draw_confusion(path, found.reordered(order), [names[c] for c in order])
    write_confusion(path.with_suffix(".csv"), found, names)
    alt = f"Confusion of classes by {method.label}; the table beside it has the largest values."
    caption = "Classes from the most to the least frequent one in training."
    return {
        "label": method.label,
        "seed": method.runs[0]["seed"],
        "figure": figure_of(path, alt, caption),
        "pairs": most_confused(found, PAIRS),
    }


def _look(method: Method, mistakes: int, captions: int, nearest: int) -> Looks:
    """Look at a method's mistakes and captions, as far as its files allow."""
    looks = Looks(method.label)
    run: TrainedModel | None = None
    if (mistakes and method.ranking is not None) or captions:
        try:
            run = load_run(method.folder)
        except (ValueError, OSError) as error:
            looks.reasons.append(
                f"no regions and no captions, for the weights do not load. {error}"
            )
    if mistakes and method.ranking is not None:
        looks.entries = find_entries(method.ranking, mistakes)
        add_thumbnails(looks.entries, run, method.label)
    if captions and run is not None:
        try:
            texts, number = training_captions(run, captions)
        except (ValueError, OSError) as error:
            looks.reasons.append(f"no captions. {error}")
            return looks
        if len(texts) < number:
            looks.reasons.append(f"{len(texts)} of {number} training captions were compared.")
        looks.captions = nearest_captions(caption_cosines(run, texts), texts, nearest)
    return looks


def _details(
    methods: Sequence[Method], looks: Sequence[Looks], rows: Sequence[ClassRow], folder: Path
) -> list[dict[str, Any]]:
    """What stands of each class under its name; its figures and sheets are written on the way."""
    names = {row.number: row.name for row in rows}
    found = []
    for row in tqdm(rows, "Classes", leave=False):
        stem = f"{row.number:03}_{_slug(row.name)}"
        sheets = []
        for number, look in enumerate(looks):
            if look.entries:
                entries = look.entries[row.number]
                place = folder / "sheets" / f"{number}_{_slug(look.label)}"
                write_sheet(place / f"{stem}.png", entries)
                sheets.append(
                    {"label": look.label, "entries": [_entry(e, row.name, names) for e in entries]}
                )
        captions = [
            {"label": look.label, "entries": look.captions[row.number]}
            for look in looks
            if look.captions
        ]
        figures = _class_figures(methods, row, folder, stem)
        found.append({"row": row, "figures": figures, "sheets": sheets, "captions": captions})
    _write_mistakes(folder, looks, names)
    _write_captions(folder, looks, names)
    return found


def _class_figures(
    methods: Sequence[Method], row: ClassRow, folder: Path, stem: str
) -> list[Figure]:
    if not row.positives or all(method.ranking is None for method in methods):
        return []
    curve = folder / "precision_recall" / f"{stem}.svg"
    spread = folder / "histograms" / f"{stem}.svg"
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


def _entry(entry: Entry, name: str, names: dict[int, str]) -> dict[str, Any]:
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


def _write_mistakes(folder: Path, looks: Sequence[Looks], names: dict[int, str]) -> None:
    rows = [
        [
            look.label,
            names[c],
            e.kind,
            e.mistake.rank,
            e.mistake.score,
            e.path,
            *(e.box or [""] * 4),
        ]
        for look in looks
        for c, entries in enumerate(look.entries)
        for e in entries
    ]
    headers = ["method", "class", "kind", "rank", "score", "path", *("left", "top"), "right"]
    write_csv(folder / "mistakes.csv", [*headers, "bottom"], rows)


def _write_captions(folder: Path, looks: Sequence[Looks], names: dict[int, str]) -> None:
    rows = [
        [look.label, names[c], place, value, text]
        for look in looks
        for c, entries in enumerate(look.captions)
        for place, (value, text) in enumerate(entries, 1)
    ]
    write_csv(folder / "captions.csv", ["method", "class", "place", "cosine", "caption"], rows)


def _slug(text: str) -> str:
    """A name for a file, of letters and digits alone."""
    kept = "".join(c if c.isascii() and c.isalnum() else "_" for c in text)
    return kept.strip("_")[:40] or "class"
