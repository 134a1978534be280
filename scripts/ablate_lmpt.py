"""LMPT's ablation: what each part is worth, on one table of mean and deviation over seeds."""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch
from tqdm import tqdm

import train
from evaluation.reports import METRICS, load_results, summarise, write_whole

_L = "TRAINER.LMPT."
# Parts of the embedding loss switched off: no margin means that absent classes are never pushed,
# an equal margin that all are pushed to the same distance, gamma 0 that all weigh the same.
_PARTS = {
    "classification loss only": (_L + "LAMBDA", "1.0"),
    "+ embedding loss (one margin, equal weights)": (
        *(_L + "CSE.MARGIN_POWER", "0.0"),
        *(_L + "CSE.GAMMA", "0.0"),
    ),
    "+ class-aware margin": (_L + "CSE.GAMMA", "0.0"),
    "+ re-weighting (one margin)": (_L + "CSE.MARGIN_POWER", "0.0"),
    "all (paper preset)": (),
}
_LOSSES = {"DB": "db", "ASL": "asl", "BCE": "bce"}
_PAPER = "all (paper preset), DB"


def variants() -> dict[str, dict[str, tuple[str, tuple[str, ...]]]]:
    """Sections of the table: row title to trainer and overrides."""

    def lmpt(*words: object) -> tuple[str, tuple[str, ...]]:
        return "LMPT", tuple(map(str, words))

    recommended = ("TRAINER.LOSS.NAME", "asl", _L + "LOGIT_BIAS", "learnt", _L + "CSC", "False")
    return {
        "References": {
            "zero-shot CLIP": ("ZeroshotCLIP", ()),
            "CoOp, shared contexts, DB": ("CoOp", ()),
            "CoOp, class-specific contexts, DB": ("CoOp", ("TRAINER.COOP.CSC", "True")),
            "CoOp, shared contexts, ASL, learnt offset": (
                "CoOp",
                ("TRAINER.LOSS.NAME", "asl", "TRAINER.COOP.LOGIT_BIAS", "learnt"),
            ),
        },
        "Parts of the loss": {
            f"{part}, {name}": lmpt(*words, "TRAINER.LOSS.NAME", loss)
            for name, loss in _LOSSES.items()
            for part, words in _PARTS.items()
        },
        "Share of the classification loss": {
            f"LAMBDA {value}": lmpt(_L + "LAMBDA", value) for value in (0.0, 0.3, 0.7)
        },
        "Context tokens": {
            **{f"N_CTX {n}": lmpt(_L + "N_CTX", n) for n in (4, 8)},
            **{f"M_CTX {m}": lmpt(_L + "M_CTX", m) for m in (0, 8)},
            "shared contexts": lmpt(_L + "CSC", False),
        },
        "Embedding loss": {
            **{f"GAMMA {g}": lmpt(_L + "CSE.GAMMA", g) for g in (0.5, 2.0)},
            **{f"space: {s}": lmpt(_L + "CSE.SPACE", s) for s in ("pooled", "text")},
            "preset released_repaired": lmpt(_L + "PRESET", "released_repaired"),
        },
        "Captions (controls)": {
            "label sentences": lmpt("INPUT.CAPTIONS", "labels"),
            "shuffled among images": lmpt("INPUT.CAPTIONS", "shuffled"),
            "text space, label sentences": lmpt(
                *(_L + "CSE.SPACE", "text", "INPUT.CAPTIONS", "labels")
            ),
            "text space, shuffled": lmpt(*(_L + "CSE.SPACE", "text", "INPUT.CAPTIONS", "shuffled")),
        },
        "Scale, offset and loss": {
            "learnt offset, DB": lmpt(_L + "LOGIT_BIAS", "learnt"),
            "learnt offset, ASL": lmpt(_L + "LOGIT_BIAS", "learnt", "TRAINER.LOSS.NAME", "asl"),
            "learnt offset, BCE": lmpt(_L + "LOGIT_BIAS", "learnt", "TRAINER.LOSS.NAME", "bce"),
            "fixed offset, ASL": lmpt(_L + "LOGIT_BIAS", "fixed", "TRAINER.LOSS.NAME", "asl"),
            "learnt offset, ASL, shared": lmpt(*recommended),
            "learnt offset, ASL, shared, text space": lmpt(*recommended, _L + "CSE.SPACE", "text"),
            "learnt offset, ASL, shared, no embedding loss": lmpt(
                *recommended, _L + "LAMBDA", "1.0"
            ),
        },
    }


def folder_name(title: str) -> str:
    """A row's title as the name of a folder."""
    return "".join(c if c.isalnum() or c in ".+" else "_" for c in title)


def run(job: tuple[str, str, tuple[str, ...], int, Path, Path, int]) -> str:
    """One run in this process; its features are shared with the process's later runs."""
    title, trainer, words, seed, root, output, threads = job
    torch.set_num_threads(threads)
    command = ["--root", root, "--trainer", trainer, "--seed", seed, "--output-dir", output]
    command += ["--dataset-config-file", ROOT / "configs/datasets/shapes_lt.yaml"]
    command += ["--config-file", ROOT / f"configs/trainers/{trainer}/tiny.yaml", *words]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        cfg = train.build_cfg(train.build_parser().parse_intermixed_args(list(map(str, command))))
        built = train.build_trainer(cfg)
        for split in ("train_loader_x", "test_loader"):
            loader = getattr(built, split)
            if split in _SHARED:
                loader.share(_SHARED[split])
            else:
                _SHARED[split] = loader
        built.train()
    return title


_SHARED: dict[str, object] = {}  # loaders of this process's first run


def table(output: Path, seeds: list[int], minutes: float | None, command: str) -> str:
    """The ablation as markdown."""
    lines = [
        "# Ablation of LMPT",
        "",
        f"ShapesLT, tiny CLIP, seeds {', '.join(map(str, seeds))}; mAP in percent over all, head, "
        "medium and tail classes, mean ± standard deviation, last epoch. ShapesLT is a toy; "
        "conclusions about photographs need photographs.",
        "",
        f"    {command}",
        "",
    ]
    if minutes is not None:
        lines += [f"{minutes:.0f} minutes on {os.cpu_count()} CPU cores.", ""]
    for section, rows in variants().items():
        lines += [f"## {section}", "", f"| | {' | '.join(METRICS)} |", "|:--|--:|--:|--:|--:|"]
        for title in rows:
            runs = load_results([output / folder_name(title) / f"seed{seed}" for seed in seeds])
            lines.append(f"| {title} | {' | '.join(summarise(runs).values())} |")
        lines.append("")
    return "\n".join(lines)


def jobs(args: argparse.Namespace) -> Iterator[tuple]:
    """Runs without a results.json."""
    for rows in variants().values():
        for title, (trainer, words) in rows.items():
            for seed in args.seeds:
                output = args.output / folder_name(title) / f"seed{seed}"
                if not (output / "results.json").is_file():
                    yield title, trainer, words, seed, args.root, output, args.threads


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    flag = parser.add_argument
    flag("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    flag("--root", type=Path, default=ROOT / "data", help="folder of the data sets")
    flag("--output", type=Path, default=ROOT / "output" / "ablation", help="folder of the runs")
    flag("--table", type=Path, default=ROOT / "output" / "ablation" / "table.md")
    flag("--jobs", type=int, default=os.cpu_count(), help="runs at a time")
    flag("--threads", type=int, default=1, help="threads a run")
    args = parser.parse_args()
    started, waiting = time.time(), list(jobs(args))
    # Fresh processes: a forked one would inherit PyTorch's thread pools in an unusable state.
    with multiprocessing.get_context("spawn").Pool(args.jobs) as pool:
        for _ in tqdm(pool.imap_unordered(run, waiting), total=len(waiting), unit="run"):
            pass
    whole = len(waiting) == sum(len(rows) for rows in variants().values()) * len(args.seeds)
    minutes = (time.time() - started) / 60 if whole else None
    command = f'bash scripts/ablate_lmpt.sh "{" ".join(map(str, args.seeds))}"'
    text = table(args.output, args.seeds, minutes, command)
    write_whole(args.table, lambda file: file.write(text.encode()))
    print(f"{text}\nWritten to {args.table}")


if __name__ == "__main__":
    main()
