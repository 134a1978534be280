"""Say whether the runs below two folders have the same results, to the last digit.

usage: python scripts/reliability/same_results.py FOLDER OTHER
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from common.readers.json_files import read_json
from common.user_errors import CommandParser, run_command
from evaluation.results.reports import load_results
from evaluation.tables.result_tables import results_table

_COMPARED = ("metrics", "per_class")


def main() -> int:
    """Print the table of the second folder, and which runs differ; the exit status is 1 if any."""
    parser = CommandParser(description=__doc__.split("\n\nusage")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("other", type=Path)
    args = parser.parse_args()
    print(results_table(load_results(args.other)))
    differ = differences(args.folder, args.other)
    print("\n".join(differ) or f"The same as in {args.folder}, to the last digit.")
    return int(bool(differ))


def differences(folder: Path, other: Path) -> list[str]:
    """What two folders do not have in common.

    Args:
        folder: has runs anywhere below it.
        other: likewise.

    Returns:
        A line for each run that only one has, or whose metrics differ; empty: all are the same.
    """
    there = [{path.relative_to(of) for path in of.rglob("results.json")} for of in (folder, other)]
    lines = [f"Only one of both has {path}." for path in sorted(there[0] ^ there[1])]
    for path in sorted(there[0] & there[1]):
        first, second = (read_json(of / path) for of in (folder, other))
        lines += [
            f"{path}: {name} differ." for name in _COMPARED if first.get(name) != second.get(name)
        ]
    return lines if any(there) else [f"There are no runs in {folder} and {other}."]


if __name__ == "__main__":
    run_command(main)
