"""Where runs are carried out, as the environment says: on this machine, or on a Ray cluster.

ENGINE                     local (default) or ray
JOBS                       runs at a time
GPUS                       local: this machine's GPUs, "0 1 2 3", one for each worker in turn
CPUS_PER_RUN               ray: cores that a run is given (1)
GPUS_PER_RUN               ray: its share of a GPU, or GPUs (1 where there are any, or else 0)
MEMORY_PER_RUN             ray: its GiB of memory (not counted)
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from common.choices import check_choice
from sweeping.ray_runs import RayWorker, Share, ray_workers
from sweeping.workers import Worker

AnyWorker = Worker | RayWorker
ENGINES = ("local", "ray")

_LOCAL, _RAY = ("GPUS",), ("CPUS_PER_RUN", "GPUS_PER_RUN", "MEMORY_PER_RUN")
_VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Engine:
    """How runs are carried out.

    Attributes:
        name: one of `ENGINES`.
        jobs: runs at a time; None: as the engine has it.
        gpus: values of CUDA_VISIBLE_DEVICES, for one worker each; empty: all see all.
        share: of a run in a cluster.
    """

    name: str = "local"
    jobs: int | None = None
    gpus: tuple[str, ...] = ()
    share: Share = field(default_factory=Share)

    @classmethod
    def from_environment(cls, jobs: int | None = None) -> Engine:
        """The engine that the environment asks for.

        Args:
            jobs: runs at a time; None: as JOBS says.

        Raises:
            ValueError: a variable has a value that it cannot have, or is another engine's.
        """
        name = os.environ.get("ENGINE") or "local"
        check_choice("ENGINE", name, ENGINES)
        for variable in _RAY if name == "local" else _LOCAL:
            if os.environ.get(variable):
                other = "ray" if name == "local" else "local"
                raise ValueError(f"{variable} is for ENGINE={other}; unset it, or choose that one.")
        gpus = _gpus()
        if said := os.environ.get("JOBS") if jobs is None else str(jobs):
            jobs = _jobs(said)
        return cls(name, jobs or len(gpus) or None, gpus, Share(*map(_amount, _RAY)))

    @property
    def quiet(self) -> bool:
        """Whether runs write to files, for several at a time would write over one another."""
        return self.name != "local" or (self.jobs or 1) > 1

    @contextlib.contextmanager
    def workers(
        self, interrupted: threading.Event, most: int | None = None
    ) -> Iterator[list[AnyWorker]]:
        """Those who run command lines, each one at a time; they are stopped at the end.

        Args:
            interrupted: set when nothing more is to be run.
            most: of them, as there are no more runs; None: not known yet.

        Raises:
            ImportError: ENGINE=ray without Ray.
            OSError: there is no cluster where RAY_ADDRESS says.
            ValueError: no machine of the cluster has what a run is to be given.
        """
        if self.name == "ray":
            with ray_workers(interrupted, self.share, self.jobs, most) as workers:
                yield workers
            return
        jobs = min(self.jobs or 1, most or self.jobs or 1)
        if jobs > 1:  # before torch counts the cores
            os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // jobs, 1)))
        devices = [{_VISIBLE: gpu} for gpu in self.gpus] or [{}]
        workers = [Worker(interrupted, devices[n % len(devices)]) for n in range(jobs)]
        try:
            yield workers
        finally:
            for worker in workers:
                worker.stop()


def _jobs(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"JOBS must be a number of 1 or more, got {text!r}.")
    return int(text)


def _gpus() -> tuple[str, ...]:
    """GPUS in the words of CUDA_VISIBLE_DEVICES.

    They are counted as torch counts them, so in a job that was given some they are some of these.
    """
    words = os.environ.get("GPUS", "").replace(",", " ").split()
    if not words:
        return ()
    import torch

    there = torch.cuda.device_count()
    for number, word in enumerate(words):
        if not word.isdecimal() or int(word) >= there or word in words[:number]:
            known = " ".join(map(str, range(there))) or "none"
            raise ValueError(
                f'GPUS must be different ones of this machine\'s ({known}), such as "0 1", got '
                f"{os.environ['GPUS']!r}."
            )
    visible = [name for name in os.environ.get(_VISIBLE, "").split(",") if name]
    return tuple(visible[int(word)] if visible else word for word in words)


def _amount(variable: str) -> float | None:
    """A number of cores, GPUs or GiB; above 1, Ray counts cores and GPUs in whole ones."""
    text = os.environ.get(variable)
    if not text:
        return None
    with contextlib.suppress(ValueError):
        amount = float(text)
        if 0 <= amount < float("inf") and (amount <= 1 or amount.is_integer()):
            return amount
    raise ValueError(f"{variable} must be a number such as 0.25, 1 or 2, got {text!r}.")
