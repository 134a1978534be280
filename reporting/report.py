"""A whole report: reads runs, writes the page and its parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.files import write_text
from evaluation.tables.plots import plot_frequency_ap
from evaluation.tables.result_tables import METRICS
from reporting.class_details import class_details
from reporting.confusion import MIN_IMAGES, confusion, most_confused
from reporting.contact_sheets import KINDS
from reporting.curves import learning_curves
from reporting.figures import (
    check_matplotlib,
    draw_confusion,
    draw_histograms,
    draw_learning,
    drawing,
    learning_names,
)
from reporting.file_names import numbered_name
from reporting.looks import Looks, look_at, write_looks
from reporting.methods import Method, read_methods
from reporting.page import figure_of, render_page
from reporting.tables import (
    ClassRow,
    class_rows,
    method_rows,
    reference,
    run_rows,
    write_classes,
    write_confusion,
    write_runs,
)

PAIRS = 15  # most confused ones in a table


def write_report(
    paths: Sequence[str | Path],
    folder: str | Path,
    mistakes: int = 4,
    captions: int = 2000,
    words: int = 3,
) -> Path:
    """Write the report on some runs.

    Args:
        paths: output folders of runs, or folders that hold several.
        folder: where to; what it holds under the same names is replaced.
        mistakes: thumbnails of each class, method and kind; 0 looks at no picture.
        captions: training captions that are compared with the classes; 0 compares none.
        words: nearest words of each context token; 0 looks for none.

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
    rows = class_rows(methods)
    looks = [look_at(method, mistakes, captions, words) for method in methods]
    write_looks(folder, looks, {row.number: row.name for row in rows})
    page = folder / "index.html"
    parts = {
        **_summary(methods, rows),
        **_frequency(methods, folder),
        **_learning(methods, folder),
        **_scores(methods, folder, [row.number for row in rows]),
        **_looks(looks),
        "details": class_details(methods, looks, rows, folder),
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
        f"{first['score']} scores",
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
    for number, name in enumerate(names):
        path = folder / "learning" / f"{numbered_name(number, name)}.svg"
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
        confusions.append(_confusion(method, folder, numbered_name(number, method.label), order))
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


def _looks(looks: Sequence[Looks]) -> dict[str, Any]:
    """Words near the contexts that all classes share; those of one class stand with it."""
    shared = [
        {"label": look.label, "tokens": tokens}
        for look in looks
        if (tokens := [token for token in look.words if not token.classname])
    ]
    reasons = [f"{look.label}: {reason}" for look in looks for reason in look.reasons]
    return {"shared_words": shared, "model_reasons": reasons}
