"""Train methods on 1, 2 and 4 ranks, kill one of them, and compare what was learnt.

    python scripts/reliability/ranks.py
    python scripts/reliability/ranks.py --methods LMPT --ranks 1 2 -- OPTIM.MAX_EPOCH 2

Each method's recommended recipe on ShapesLT, by `torchrun train.py`. A table compares each number
of ranks with the first: the largest difference of what was trained, in shares of the largest value
of its tensor, the mAPs, and the minutes. Then the first method is trained once more on the last
number of ranks, one of them is killed (SIGKILL) after the first epoch, and torchrun starts them
anew. The exit status is 1 if an mAP differs by more than 0.01.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from tabulate import tabulate

from compat.bootstrap import ensure_dassl

ensure_dassl()

from dassl.utils import load_checkpoint

_PROJECT = Path(__file__).resolve().parents[2]
_METHODS = ("LMPT", "DualCoOp", "TaIDPT", "FinetuneCLIP")
_MORE = {"TaIDPT": ("DATASET.TEXT_AS_IMAGE", "True")}
_TOLERANCE = 0.01  # of mAP, in percent
_POLL = 0.1  # seconds


class Run(NamedTuple):
    """A run that has ended."""

    learnt: dict[str, torch.Tensor]
    mean_precision: float
    minutes: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    args = _parse(arguments)
    rows, worst = [], 0.0
    with tempfile.TemporaryDirectory(prefix="ranks-") as place:
        for method in args.methods:
            runs = {n: _train(Path(place, f"{method}-{n}"), method, n, args) for n in args.ranks}
            first = runs[args.ranks[0]]
            rows += [_row(method, str(n), run, first) for n, run in runs.items()]
            worst = max(worst, *(_apart(run, first) for run in runs.values()))
        method, n = args.methods[0], args.ranks[-1]
        first = _train(Path(place, "once more"), method, args.ranks[0], args)
        killed = _train(Path(place, "killed"), method, n, args, kill=True)
        rows.append(_row(method, f"{n}, one killed", killed, first))
        worst = max(worst, _apart(killed, first))
    heads = ("method", "ranks", "difference", "mAP", "minutes")
    print(tabulate(rows, heads, tablefmt="github", disable_numparse=True))
    return int(worst > _TOLERANCE)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flag = parser.add_argument
    flag("--methods", nargs="+", default=list(_METHODS), metavar="NAME", help="of train.py")
    flag("--ranks", nargs="+", type=int, default=[1, 2, 4], metavar="N", help="1 2 4")
    flag("--root", default="data", metavar="FOLDER", help="of data sets; data")
    flag("options", nargs="*", metavar="KEY VALUE", help="of every run's config")
    return parser.parse_args(arguments)


def _train(
    folder: Path, method: str, ranks: int, args: argparse.Namespace, kill: bool = False
) -> Run:
    """A run of a method; with `kill`, its last rank is killed after the first epoch."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", str(ranks), "--max-restarts", str(int(kill))]
    command += ["train.py", "--root", args.root, "--trainer", method, "--seed", "1"]
    command += ["--dataset-config-file", "configs/datasets/shapes_lt.yaml", "--backbone", "tiny"]
    command += ["--output-dir", str(folder), *_MORE.get(method, ()), *args.options]
    started = time.perf_counter()
    console = folder.with_suffix(".txt")
    environment = {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", **os.environ}
    with console.open("w") as file:
        process = subprocess.Popen(
            command, cwd=_PROJECT, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
        if kill:
            _kill_one(process, folder)
        status = process.wait()
    if status:
        raise RuntimeError(f"{method} on {ranks} ranks ended with {status}:\n{console.read_text()}")
    minutes = (time.perf_counter() - started) / 60
    newest = max(folder.glob("*/model.pth.tar-*"), key=lambda path: int(path.name.split("-")[-1]))
    metrics = json.loads((folder / "results.json").read_text())["metrics"]
    return Run(load_checkpoint(str(newest))["state_dict"], metrics["mAP"], minutes)


def _kill_one(torchrun: subprocess.Popen, folder: Path) -> None:
    while not list(folder.glob("*/model.pth.tar-1")) and torchrun.poll() is None:
        time.sleep(_POLL)
    children = Path(f"/proc/{torchrun.pid}/task/{torchrun.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)


def _apart(run: Run, first: Run) -> float:
    return abs(run.mean_precision - first.mean_precision)


def _row(method: str, ranks: str, run: Run, first: Run) -> tuple[str, ...]:
    differences = [
        float((run.learnt[name] - tensor).abs().max() / tensor.abs().max().clamp(min=1e-12))
        for name, tensor in first.learnt.items()
    ]
    figures = (f"{max(differences):.1e}", f"{run.mean_precision:.3f}", f"{run.minutes:.2f}")
    return (method, ranks, *figures)


if __name__ == "__main__":
    sys.exit(main())
