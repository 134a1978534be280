"""Time, memory and arithmetic of a call, for scripts/bench.py."""

from __future__ import annotations

import ctypes
import gc
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # Linux: the peak of the resident memory starts anew
_SIDES = {"cpu": 2048, "cuda": 8192}  # of matrices whose product tells what the device can do


@dataclass
class Memory:
    """Bytes at the peak above those held before; None where the system does not tell."""

    peak: int | None = None


class Meter:
    """Measures on one device.

    Args:
        device: cpu or cuda.
        budget: seconds to spend on repeating a call.
        clock: gives the time in seconds, from any start.
    """

    def __init__(
        self,
        device: torch.device,
        budget: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.device, self.budget, self.clock = device, budget, clock

    def once(self, call: Callable[[], object]) -> float:
        """Seconds of one call, the device's work included."""
        self._wait()
        start = self.clock()
        call()
        self._wait()
        return self.clock() - start

    def median(self, call: Callable[[], object]) -> float:
        """Median seconds of as many calls as the budget allows, one at least."""
        return statistics.median(self._times(call, 200))

    def _times(self, call: Callable[[], object], most: int) -> list[float]:
        times: list[float] = []
        while not times or (sum(times) < self.budget and len(times) < most):
            times.append(self.once(call))
        return times

    @contextmanager
    def memory(self) -> Iterator[Memory]:
        """Watch the memory: the device's on a GPU, the process's resident memory on a CPU."""
        found = Memory()
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
            before = torch.cuda.memory_allocated(self.device)
            yield found
            found.peak = torch.cuda.max_memory_allocated(self.device) - before
            return
        watched = _reset_peak()
        before = _resident("VmRSS") if watched else 0
        yield found
        if watched:
            found.peak = _resident("VmHWM") - before

    def throughput(self, dtype: torch.dtype) -> float:
        """Floating-point operations a second in a product of two large matrices."""
        side = _SIDES[self.device.type]
        a, b = (torch.randn(side, side, device=self.device).to(dtype) for _ in range(2))
        self.once(lambda: a @ b)
        return 2 * side**3 / min(self._times(lambda: a @ b, 50))

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def operations(call: Callable[[], object]) -> int:
    """Floating-point operations of a call's matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def hardware(device: torch.device) -> str:
    """The device, its size and the torch that drives it, in words."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        return f"{name}, torch {torch.__version__}, CUDA {torch.version.cuda}"
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        found = re.search(r"^model name\s*: (.+)$", info.read_text(), re.MULTILINE)
        name = found[1] if found else name
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def _resident(field: str) -> int:
    """A line of this process's status, in bytes."""
    found = re.search(rf"^{field}:\s*(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    return int(found[1]) * 1024


def _reset_peak() -> bool:
    """Give free memory back to the system and forget its peak; False where that cannot be done."""
    try:
        ctypes.CDLL(None).malloc_trim(0)  # glibc's; what was freed and kept would hide what comes
        _CLEAR.write_text(_RESET_PEAK)
    except (OSError, AttributeError):
        return False
    return True
