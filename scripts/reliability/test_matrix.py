"""Run the tests under several instruction sets of the CPU, versions of Python and of torch.

    python scripts/reliability/test_matrix.py
    python scripts/reliability/test_matrix.py --only avx2 torch2.4 -- -x tests/trainers/test_lmpt.py
    python scripts/reliability/test_matrix.py --list

Instruction sets are limited by the environment variables of ATen, oneDNN and MKL, and tried with
the Python that runs this script. For each version a virtual environment is made in the folder for
temporary files (some 6 GB, minutes) and removed afterwards; its Python is found by name on PATH.
What follows `--` goes to pytest. What this machine does not have is named and left out. The last
line has the figures; the exit status is 1 if a test failed, or a combination could not be set up.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from tabulate import tabulate

ROOT = Path(__file__).resolve().parents[2]
_SETS = ("DEFAULT", "AVX2", "AVX512")  # ascending, as torch names them
_OLDEST = ("torch==2.4.0", "torchvision==0.19.0")
_PROBE = "import torch; print(torch.backends.cpu.get_cpu_capability())"
_DESCRIBE = (
    "import platform, torch; "
    "print(platform.python_version(), torch.__version__, torch.backends.cpu.get_cpu_capability())"
)


@dataclass(frozen=True)
class Combination:
    """What the tests are run with.

    Args:
        python: name of an interpreter; "" for the one that runs this script, as it is.
        packages: what pip gets beside requirements-dev.txt.
        limits: environment variables.
    """

    python: str = ""
    packages: tuple[str, ...] = ()
    limits: Mapping[str, str] = field(default_factory=dict)


def _limits(aten: str, onednn: str, mkl: str) -> Combination:
    variables = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")
    return Combination(limits=dict(zip(variables, (aten, onednn, mkl), strict=True)))


COMBINATIONS = {
    "default": _limits("default", "SSE41", "SSE4_2"),
    "avx2": _limits("avx2", "AVX2", "AVX2"),
    "avx512": _limits("avx512", "AVX512_CORE", "AVX512"),
    "python3.10": Combination("python3.10"),
    "python3.12": Combination("python3.12"),
    "python3.13": Combination("python3.13"),
    "torch2.4": Combination("python3.10", _OLDEST),
}


class Outcome(NamedTuple):
    """How the tests went under one combination."""

    name: str
    versions: Sequence[str] = ("", "", "")  # Python, torch, instruction set
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    minutes: float = 0.0
    note: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    args = _parse(arguments)
    if args.list:
        print("\n".join(COMBINATIONS))
        return 0
    outcomes, missing = [], []
    for name in args.only:
        reason = absent(COMBINATIONS[name])
        if reason:
            missing.append(f"{name} is not run: {reason}")
            continue
        print(f"== {name}", flush=True)
        outcomes.append(_try(name, args.pytest))
    rows = [(o.name, *o.versions, *o[2:5], f"{o.minutes:.1f}", o.note) for o in outcomes]
    titles = ("", "Python", "torch", "CPU", "passed", "failed", "skipped", "minutes", "")
    print(tabulate(rows, titles, disable_numparse=True))
    for line in missing:
        print(line)
    passed, bad = sum(o.passed for o in outcomes), sum(o.failed for o in outcomes)
    unset = sum(bool(o.note) for o in outcomes)
    print(
        f"{len(outcomes)} combinations, {len(missing)} not run: {passed} tests passed, "
        f"{bad} failed, {unset} combinations without an end"
    )
    return int(bad > 0 or unset > 0 or passed == 0)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flag = parser.add_argument
    names = list(COMBINATIONS)
    flag("--only", nargs="+", choices=names, default=names, metavar="NAME", help="of --list")
    flag("--list", action="store_true", help="print the names of the combinations")
    words = list(sys.argv[1:] if arguments is None else arguments)
    at = words.index("--") if "--" in words else len(words)
    args = parser.parse_args(words[:at])
    args.pytest = words[at + 1 :]
    return args


def absent(combination: Combination) -> str:
    """Why a combination cannot be tried on this machine; "" if it can."""
    wanted = combination.limits.get("ATEN_CPU_CAPABILITY", "default").upper()
    if wanted != "DEFAULT":
        has = _output([sys.executable, "-c", _PROBE], os.environ) or "DEFAULT"
        if has in _SETS[: _SETS.index(wanted)]:
            return f"the CPU has {has} at most"
    name = combination.python
    if name and not _output([name, "-c", "print(1)"], os.environ):
        return f"{name} is not on PATH"
    return ""


def _try(name: str, words: Sequence[str]) -> Outcome:
    """Run the tests under a combination."""
    combination, started = COMBINATIONS[name], time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="matrix-") as folder:
        python = sys.executable
        if combination.python:
            python = _environment(combination, Path(folder, "venv"))
            if not python:
                return Outcome(name, note="could not be installed, see above")
        report = Path(folder, "report.xml")
        command = [python, "-m", "pytest", f"--junitxml={report}", *words]
        variables = {**os.environ, **combination.limits}
        described = _output([python, "-c", _DESCRIBE], variables).split()
        status = subprocess.run(command, cwd=ROOT, env=variables, check=False).returncode
        minutes = (time.perf_counter() - started) / 60
        passed, failed, skipped = counts(report)
        note = "" if status == int(failed > 0) else f"pytest ended with {status}"
        return Outcome(name, described, passed, failed, skipped, minutes, note)


def _environment(combination: Combination, folder: Path) -> str:
    """Make a virtual environment; returns its interpreter, or "" if that failed."""
    python = str(folder / "bin" / "python")
    requirements = ("-r", str(ROOT / "requirements-dev.txt"))
    install = (python, "-m", "pip", "install", "--quiet", "--no-cache-dir", *combination.packages)
    for command in ((combination.python, "-m", "venv", str(folder)), (*install, *requirements)):
        if subprocess.run(command, check=False).returncode:
            return ""
    return python


def counts(report: Path) -> tuple[int, int, int]:
    """Tests that passed, failed and were skipped, by the report that pytest has left."""
    if not report.is_file():
        return 0, 0, 0
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    total = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for suite in suites:
        for kind in total:
            total[kind] += int(suite.get(kind, 0))
    failed = total["failures"] + total["errors"]
    return total["tests"] - failed - total["skipped"], failed, total["skipped"]


def _output(command: Sequence[str], variables: Mapping[str, str]) -> str:
    """What a command prints; "" if there is none or it fails."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


if __name__ == "__main__":
    sys.exit(main())
