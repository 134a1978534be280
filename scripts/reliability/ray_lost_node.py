"""Lose a node of a Ray cluster in the middle of a comparison: are its results still the same?

usage: python scripts/reliability/ray_lost_node.py [FOLDER]      default: output/ray_lost_node

Starts two nodes of one core each on this machine. A small comparison on ShapesLT runs without Ray,
and then on the two nodes, of which one is killed as soon as a run there has left a checkpoint.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from common.readers.json_files import read_json
from common.user_errors import CommandParser, run_command
from scripts.reliability.same_results import differences
from sweeping.ray_runs import LOOPBACK

_COMPARISON = ("shapes_lt", "tiny", "CoOp LMPT", "1 2")
_LONGEST = 1800.0  # seconds


def main() -> int:
    """Run both comparisons; the exit status is 1 if their results differ."""
    parser = CommandParser(description=__doc__.split("\n\nusage")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "output/ray_lost_node")
    folder = parser.parse_args().folder.absolute()
    if folder.exists():
        raise FileExistsError(f"{folder} is there already; remove it, or name another folder.")
    own = {"OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled", "PYTHON": sys.executable}
    os.environ.update({**LOOPBACK, **own})
    try:
        from ray.cluster_utils import Cluster
    except ImportError:
        raise ImportError("Ray is needed. Run: pip install -r requirements-cluster.txt") from None

    plain = _timed(lambda: _compare(folder / "plain").communicate())
    own = {"num_cpus": 1, "node_ip_address": "127.0.0.1"}
    cluster = Cluster(initialize_head=True, head_node_args={**own, "include_dashboard": False})
    node = cluster.add_node(**own)

    def lose_a_node() -> None:
        process = _compare(folder / "ray", ENGINE="ray", RAY_ADDRESS=cluster.address)
        run = _begun_under(folder / "ray", node.all_processes["raylet"][0].process.pid)
        print(f"== The node of {run} is killed", flush=True)
        cluster.remove_node(node, allow_graceful=False)
        process.communicate()

    with_ray = _timed(lose_a_node)
    cluster.shutdown()
    print(
        f"== Seconds: {plain:.0f} one run after the other, {with_ray:.0f} with Ray and a node lost"
    )
    differ = differences(folder / "plain", folder / "ray")
    print("\n".join(differ) or "The results are the same, to the last digit.")
    return int(bool(differ))


def _compare(output: Path, **variables: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OUTPUT": str(output), **variables}
    return subprocess.Popen(["bash", ROOT / "scripts/compare.sh", *_COMPARISON], env=environment)


def _begun_under(output: Path, raylet: int) -> Path:
    """The first run of a node's processes that has left a checkpoint."""
    end = time.monotonic() + _LONGEST
    while time.monotonic() < end:
        for owner in output.glob("**/.owner.json"):
            begun = list(owner.parent.glob("prompt_learner/model*"))
            if begun and _parent(read_json(owner)["pid"]) == raylet:
                return owner.parent
        time.sleep(0.2)
    raise TimeoutError(f"no run of the node has left a checkpoint in {output}")


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _timed(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


if __name__ == "__main__":
    run_command(main)
