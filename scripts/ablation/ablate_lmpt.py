"""LMPT's ablation: what each part is worth, on one table of mean and deviation over seeds."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from common.files import write_text
from common.user_errors import CommandParser, run_command
from evaluation.results.reports import load_results
from evaluation.tables.result_tables import METRICS, summarise
from scripts.lib.run_all import carry_out
from sweeping.engine import Engine

_L, _C = "TRAINER.LMPT.", "TRAINER.COOP."
# Parts of the embedding loss: without the class-aware margin every class has the same, with gamma 0
# all classes weigh the same.
_EQUAL_MARGIN = (_L + "CSE.MARGIN_POWER", 0.0)
_EQUAL_WEIGHTS = (_L + "CSE.GAMMA", 0.0)
_PARTS = {
    "classification loss only": (_L + "LAMBDA", 1.0),
    "+ embedding loss (one margin, equal weights)": (*_EQUAL_MARGIN, *_EQUAL_WEIGHTS),
    "+ class-aware margin (equal weights)": _EQUAL_WEIGHTS,
    "+ re-weighting (one margin)": _EQUAL_MARGIN,
    "all": (),
}
_MARKS = "<!-- table -->\n<!-- end of table -->"  # what stands between them is written here
_LOSSES = {"DB": "db", "ASL": "asl", "BCE": "bce"}

Row = tuple[str, str, tuple[str, ...]]  # trainer, recipe (empty: its own), overrides


def _row(trainer: str, recipe: str, *words: object) -> Row:
    return trainer, recipe, tuple(map(str, words))


def variants() -> dict[str, dict[str, Row]]:
    """Sections of the table: title of each row to what it runs."""

    def paper(*words: object) -> Row:
        return _row("LMPT", "paper", *words)

    def recommended(*words: object) -> Row:
        return _row("LMPT", "", *words)

    as_paper = (
        "TRAINER.LOSS.NAME",
        "db",
        _C + "COSINE_OFFSET",
        "off",
        "TRAINER.LOSS.DB.VARIANT",
        "paper",
    )
    as_paper += ("OPTIM.LR", 5e-4, "OPTIM.MAX_EPOCH", 30)
    as_paper += ("TRAINER.SAMPLER", "random", _C + "CTX_INIT", "")
    return {
        "References": {
            "zero-shot CLIP": _row("ZeroshotCLIP", ""),
            "CoOp, LMPT's paper recipe, shared contexts": _row(
                "CoOp", "", *as_paper, _C + "CSC", False
            ),
            "CoOp, LMPT's paper recipe, class-specific contexts": _row("CoOp", "", *as_paper),
            "CoOp, recommended recipe, shared contexts": _row("CoOp", "", _C + "CSC", False),
            "CoOp, recommended recipe": _row("CoOp", ""),
            "**LMPT, paper recipe**": paper(),
            "**LMPT, recommended recipe**": recommended(),
        },
        "Parts of the loss, paper recipe": {
            f"{part}, {name}": paper(*words, "TRAINER.LOSS.NAME", loss)
            for name, loss in _LOSSES.items()
            for part, words in _PARTS.items()
            if (part, name) != ("all", "DB")
        },
        "Around the paper recipe": {
            **{f"LAMBDA {value}": paper(_L + "LAMBDA", value) for value in (0.0, 0.3, 0.7)},
            **{f"N_CTX {n}": paper(_L + "N_CTX", n) for n in (4, 8)},
            **{f"M_CTX {m}": paper(_L + "M_CTX", m) for m in (0, 8)},
            **{f"GAMMA {g}": paper(_L + "CSE.GAMMA", g) for g in (0.5, 2.0)},
            **{f"space: {s}": paper(_L + "CSE.SPACE", s) for s in ("pooled", "text")},
            "shared contexts": paper(_L + "CSC", False),
            "preset released_repaired": paper(_L + "PRESET", "released_repaired"),
            "captions: label sentences": paper("INPUT.CAPTIONS", "labels"),
            "captions: shuffled among images": paper("INPUT.CAPTIONS", "shuffled"),
            "learnt offset": paper(_L + "COSINE_OFFSET", "learnt"),
        },
        "Around the recommended recipe": {
            "classification loss only": recommended(_L + "LAMBDA", 1.0),
            "embedding loss only": recommended(_L + "LAMBDA", 0.0),
            "one margin": recommended(*_EQUAL_MARGIN),
            **{f"GAMMA {g}": recommended(_L + "CSE.GAMMA", g) for g in (0.5, 1.0)},
            **{f"space: {s}": recommended(_L + "CSE.SPACE", s) for s in ("token", "pooled")},
            "shared contexts": recommended(_L + "CSC", False),
            **{
                f"loss: {name}": recommended("TRAINER.LOSS.NAME", loss)
                for name, loss in _LOSSES.items()
                if loss != "asl"
            },
            "no offset": recommended(_L + "COSINE_OFFSET", "off"),
            "fixed offset": recommended(_L + "COSINE_OFFSET", "fixed"),
            "random sampling, 50 epochs": recommended(
                *("TRAINER.SAMPLER", "random", "OPTIM.MAX_EPOCH", 50)
            ),
            "16 random contexts": recommended(_L + "CTX_INIT", "", _L + "M_CTX", 2),
            "captions: label sentences": recommended("INPUT.CAPTIONS", "labels"),
            "captions: shuffled among images": recommended("INPUT.CAPTIONS", "shuffled"),
        },
    }


def run_folder(output: Path, section: str, title: str, seed: int) -> Path:
    """Where a row's run of one seed lies."""
    plain = "".join(c if c.isalnum() or c in ".+" else "_" for c in f"{section}/{title}")
    return output / plain / f"seed{seed}"


def words_of(row: Row, seed: int, root: Path, output: Path) -> list[str]:
    """The run of a row and a seed as words of train.py."""
    trainer, recipe, changes = row
    words = ["--output-dir", output, "--trainer", trainer, "--seed", seed, "--root", root]
    words += ["--dataset-config-file", ROOT / "configs/datasets/shapes_lt.yaml"]
    words += ["--backbone", "tiny"]
    if recipe:
        words += ["--config-file", ROOT / f"configs/trainers/{trainer}/{recipe}.yaml"]
    return [*map(str, words), *changes]


def table(output: Path, seeds: list[int], minutes: float) -> str:
    """The ablation as markdown."""
    listed = " ".join(map(str, seeds))
    lines = [
        f'    bash scripts/ablation/ablate_lmpt.sh "{listed}"',
        "",
        f"{minutes:.0f} minutes on {os.cpu_count()} CPU cores. mAP in percent over all, head, "
        "medium and tail classes of ShapesLT's test images, mean ± standard deviation over seeds "
        f"{listed}; tiny CLIP, logit scores, last epoch.",
        "",
    ]
    for section, rows in variants().items():
        lines += [f"## {section}", "", f"| | {' | '.join(METRICS)} |", "|:--|--:|--:|--:|--:|"]
        for title in rows:
            runs = load_results([run_folder(output, section, title, seed) for seed in seeds])
            lines.append(f"| {title} | {' | '.join(summarise(runs).values())} |")
        lines.append("")
    return "\n".join(lines)


def put_between_marks(text: str, path: Path) -> None:
    """Replace what stands between the marks in a file; prose around them stays."""
    page = (
        path.read_text(encoding="utf-8") if path.is_file() else f"# Ablation of LMPT\n\n{_MARKS}\n"
    )
    start, end = _MARKS.split("\n")
    if start not in page or end not in page:
        raise ValueError(f"{path} has no lines {start} and {end} for the table to stand between.")
    before, rest = page.split(start, 1)
    after = rest.split(end, 1)[1]
    whole = f"{before}{start}\n\n{text}\n{end}{after}"
    write_text(path, whole)


def spent_before(log: Path) -> float:
    """Minutes of earlier calls, whose runs were kept."""
    return float(log.read_text()) if log.is_file() else 0.0


def runs(args: argparse.Namespace) -> Iterator[list[str]]:
    """All runs of the table, as words of train.py."""
    root, output = args.root.absolute(), args.output.absolute()
    for section, rows in variants().items():
        for title, row in rows.items():
            for seed in args.seeds:
                yield words_of(row, seed, root, run_folder(output, section, title, seed))


def main() -> int:
    """Run what is missing, then write the table; returns the exit status."""
    parser = CommandParser(description=__doc__)
    flag = parser.add_argument
    flag("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    flag("--root", type=Path, default=ROOT / "data", help="folder of the data sets")
    flag("--output", type=Path, default=ROOT / "output" / "ablation", help="folder of the runs")
    flag("--table", type=Path, default=ROOT / "docs" / "ablation.md", help="page to write into")
    flag("--jobs", type=int, help="runs at a time; default: the variable JOBS, or one a core")
    flag("--threads", type=int, default=1, help="threads a run")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    started, complete = time.time(), carry_out(list(runs(args)), _engine(args.jobs))
    if os.environ.get("DRY_RUN"):
        return 0
    if not complete:
        raise ValueError("Not every run has finished, see above; the same command goes on.")
    log = args.output / "minutes"
    minutes = spent_before(log) + (time.time() - started) / 60
    log.write_text(f"{minutes}")
    text = table(args.output, args.seeds, minutes)
    put_between_marks(text, args.table)
    print(f"{text}\nWritten to {args.table}")
    return 0


def _engine(jobs: int | None) -> Engine:
    engine = Engine.from_environment(jobs)
    if engine.name == "local" and engine.jobs is None:
        return replace(engine, jobs=os.cpu_count())
    return engine


if __name__ == "__main__":
    run_command(main)
