"""Runs as tasks of a Ray cluster: it finds them a place, and starts anew those that it loses.

Every machine has the project, the environment, the data and the run folders under the same paths,
on a file system that they share. A run that is started again goes on from its last checkpoint.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from sweeping.workers import INTERRUPTED, Watch, Words

if TYPE_CHECKING:
    from ray.remote_function import RemoteFunction

RETRIES = 5  # of a run whose process or machine is lost
# Ray's word for a cluster that is reached from this machine alone, set before Ray is imported.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
LOST = 1  # exit status of a run that was lost more often

_ROOT = Path(os.path.abspath(__file__)).parents[1]
_TRY = 10.0  # seconds to reach a cluster
_POLL = 1.0  # seconds between looks at an interruption
_PATIENCE = "120"  # seconds for the lock of a lost machine to be given up; NFS 4 needs 90


@dataclass(frozen=True)
class Share:
    """What a run is given of a cluster.

    Attributes:
        cpus: cores, or a share of one; None: one.
        gpus: GPUs, or a share of one; None: one where there are any.
        memory: in GiB; None: not counted.
    """

    cpus: float | None = None
    gpus: float | None = None
    memory: float | None = None


class RayWorker:
    """Runs one command line after the other on a cluster, as `workers.Worker` does here.

    Args:
        task: a remote function with the arguments of `run`.
        interrupted: set when nothing more is to be run.
    """

    def __init__(self, task: RemoteFunction, interrupted: threading.Event) -> None:
        self._task, self._interrupted = task, interrupted

    def run(self, words: Words, console: Path | None = None, watch: Watch | None = None) -> int:
        """Run a command line; see `Worker.run`.

        Args:
            words: those after `train.py`, of which the second is the run's folder.
            console: file for its output; None: Ray's log.
            watch: pickled, and called where the run is.

        Returns:
            The exit status; `LOST` if Ray gave the run up; `INTERRUPTED`.
        """
        import ray

        if self._interrupted.is_set():
            return INTERRUPTED
        status = self._task.remote(list(words), str(console or ""), watch)
        while not ray.wait([status], timeout=_POLL)[0]:
            if self._interrupted.is_set():
                return INTERRUPTED
        try:
            return ray.get(status)
        except ray.exceptions.RayError as error:
            if console:
                console.parent.mkdir(parents=True, exist_ok=True)
                with open(console, "a", encoding="utf-8") as file:
                    print(f"Ray gave the run up: {error}", file=file)
            return LOST

    def stop(self) -> None:
        """Nothing: what still runs ends with the connection to the cluster."""


@contextlib.contextmanager
def ray_workers(
    interrupted: threading.Event, share: Share, jobs: int | None, most: int | None
) -> Iterator[list[RayWorker]]:
    """Workers on the cluster at RAY_ADDRESS, or on one of this machine that ends with us.

    Args:
        interrupted: set when nothing more is to be run.
        share: what a run is given.
        jobs: runs at a time; None: `most`, which wait for their places, or as many as have one now.
        most: of them, as there are no more runs; None: not known yet.

    Raises:
        ImportError: there is no Ray.
        OSError: there is no cluster at RAY_ADDRESS.
        ValueError: no machine of the cluster can hold a run.
    """
    ray = _connected()
    try:
        # Ray's own handler ends the program without a word to those who wait for runs.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        needs = _needs(ray, share)
        places = _places(ray, needs)
        print(f"Ray: {places} runs at a time, each with {_said(needs)}", flush=True)
        count = min(jobs or most or places, most or jobs or places)
        task = _task(ray, needs)
        yield [RayWorker(task, interrupted) for _ in range(count)]
    finally:
        ray.shutdown()


def _connected() -> ModuleType:
    """Ray, connected."""
    address = os.environ.get("RAY_ADDRESS")
    if address:
        _reach(address)
    else:
        os.environ.update(LOOPBACK)
    try:
        import ray
    except ImportError:
        raise ImportError(
            "ENGINE=ray needs Ray. Run: pip install -r requirements-cluster.txt"
        ) from None
    quiet = {"log_to_driver": False, "logging_level": "error"}
    if address:
        ray.init(address, **quiet)
    else:
        ray.init("local", include_dashboard=False, **quiet)
    return ray


def _reach(address: str) -> None:
    """Ray itself would try for minutes, and then end the program."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal():  # a word of Ray's, as "auto"
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_TRY).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(
            f"No Ray cluster answers at RAY_ADDRESS={address} ({error}). Start one there, or unset "
            "RAY_ADDRESS for one on this machine."
        ) from None


def _needs(ray: ModuleType, share: Share) -> dict[str, float]:
    """What a run is given, in Ray's words; memory in bytes."""
    cpus = 1 if share.cpus is None else share.cpus
    gpus = min(ray.cluster_resources().get("GPU", 0), 1) if share.gpus is None else share.gpus
    return {"CPU": cpus, "GPU": gpus, "memory": (share.memory or 0) * 2**30}


def _places(ray: ModuleType, needs: dict[str, float]) -> int:
    """How many runs the machines can hold at a time."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    places = sum(
        int(min(have.get(name, 0) / amount for name, amount in needs.items() if amount))
        for have in machines
    )
    if not places:
        most = {name: max(have.get(name, 0) for have in machines) for name in needs}
        raise ValueError(
            f"No machine of the Ray cluster can hold a run that needs {_said(needs)}; the most "
            f"that one has is {_said(most)}. Lower CPUS_PER_RUN, GPUS_PER_RUN or MEMORY_PER_RUN."
        )
    return places


def _said(amounts: dict[str, float]) -> str:
    return ", ".join(
        f"{amount / 2**30:.3g} GiB of memory" if name == "memory" else f"{amount:g} {name}"
        for name, amount in amounts.items()
        if amount
    )


def _task(ray: ModuleType, needs: dict[str, float]) -> RemoteFunction:
    """The remote function that runs a command line."""
    options = {"num_cpus": needs["CPU"], "num_gpus": needs["GPU"], "memory": int(needs["memory"])}
    hidden = {} if needs["GPU"] else {"CUDA_VISIBLE_DEVICES": ""}  # Ray may leave all to be seen
    run = _there(str(_ROOT), os.getcwd(), {**_own_variables(), **hidden})
    return ray.remote(**options, max_retries=RETRIES)(run)


def _there(root: str, folder: str, variables: dict[str, str]) -> Callable[..., int]:
    """A function that needs nothing of ours where it is unpickled, for it says where that is."""

    def run(words: list[str], console: str, watch: Watch | None) -> int:
        os.environ.update(variables)
        os.chdir(folder)
        if root not in sys.path:
            sys.path.insert(0, root)
        from sweeping.workers import run_here

        if Path(words[1], "results.json").is_file():  # of a try that was lost after its end
            return 0
        return run_here(words, console, watch)

    return run


def _own_variables() -> dict[str, str]:
    """The environment's variables for runs, which on other machines are not set."""
    own = {name: text for name, text in os.environ.items() if name.startswith("LMPT_")}
    return {"LMPT_LOCK_PATIENCE": _PATIENCE, **own}
