"""One run on several processes ("ranks"), as torchrun starts them, each with a device of its own.

All ranks run the same program on the same global batches, so that every loss sees the whole batch
and needs not know of them. What costs time is shared out by rows (images, prompts): each rank
computes its rows, and `gather_rows` gives all rows to all, gradients included. Gradients are then
averaged. Without torchrun there is one rank, and nothing here does anything.

Where rank r's loss is L, equal on all ranks, and its parameters reach L through rows of its own
(shared work) and by ways that all ranks compute alike, the gradient of one process is the sum of
the first over ranks, plus the second once. `gather_rows` multiplies the first by the number of
ranks, and the average does the rest.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from common.rank_store import attempt_store

_DISAGREEMENT = 1e-3  # relative; rounding differs by far less


class LostRankError(ConnectionError):
    """A rank of the run has ended or cannot be reached."""


def asked_for() -> int:
    """The number of ranks that torchrun has started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def world_size() -> int:
    """The number of ranks that work together; 1 outside of `working_together`."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this rank, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_first() -> bool:
    """Whether this rank writes, to files and to the terminal."""
    return rank() == 0


@contextlib.contextmanager
def working_together(use_cuda: bool) -> Iterator[None]:
    """Join the other ranks, over NCCL for GPUs and gloo for CPUs; only the first one is heard.

    Within such a context a second one changes nothing.

    Args:
        use_cuda: USE_CUDA.

    Raises:
        ValueError: there are more ranks than GPUs on this machine.
        LostRankError: another rank ended before its work was done.
    """
    if asked_for() == 1 or dist.is_initialized():
        yield
        return
    on_gpu = use_cuda and torch.cuda.is_available()
    if on_gpu:
        _take_gpu()
    try:
        _join("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
        with contextlib.nullcontext() if is_first() else _silence():
            yield
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise LostRankError(
                "another rank of this run has ended; what it says tells why. With torchrun "
                "--max-restarts 3 all begin again then, from the last checkpoint."
            ) from error
        raise
    dist.destroy_process_group()


def _join(backend: str) -> None:
    store, ranks = attempt_store(), {}
    if store is not None:
        ranks = {"rank": int(os.environ["RANK"]), "world_size": asked_for()}
    dist.init_process_group(backend, store=store, **ranks)


def _take_gpu() -> None:
    local, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if local >= gpus:
        raise ValueError(
            f"torchrun started more ranks on this machine than its {gpus} GPUs. Lower "
            "--nproc_per_node, or compute on CPUs: USE_CUDA False"
        )
    torch.cuda.set_device(local)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Leave all that would be printed unprinted; errors that leave the context are heard."""
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def wait_for_all() -> None:
    """Go on when all ranks are here."""
    if dist.is_initialized():
        dist.barrier()


@contextlib.contextmanager
def first_before_others() -> Iterator[None]:
    """The first rank goes through the context alone, and then all others at once."""
    if not is_first():
        wait_for_all()
    yield
    if is_first():
        wait_for_all()


def on_any(condition: bool) -> bool:
    """Whether a condition is true on any rank; for decisions that all must take alike."""
    if world_size() == 1:
        return condition
    answers = torch.tensor([condition], dtype=torch.int32)
    dist.all_reduce(answers)  # over gloo: on the CPU
    return bool(answers.item())


def as_on_first(value: Any) -> Any:  # noqa: ANN401 - whatever it is
    """What the first rank has given for a value that pickles."""
    if world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def _height(count: int) -> int:
    """Rows that a rank takes of `count`; the last ranks take fewer."""
    return -(-count // world_size())


def share(count: int) -> slice:
    """The rows of this rank of `count` rows, at least 1.

    It is never empty, so that every rank goes the same way: one for which no row is left takes the
    last one, too, and `gather_rows` leaves its result out.
    """
    start = min(rank() * _height(count), count - 1)
    return slice(start, min(start + _height(count), count))


def gather_rows(rows: Tensor, count: int) -> Tensor:
    """All rows [count, ...] of the rows that each rank has computed of its `share`.

    Args:
        rows: [n, ...], those of this rank's share.
        count: rows of all ranks.
    """
    return rows if world_size() == 1 else _Gather.apply(rows, count)


class _Gather(torch.autograd.Function):
    """Rows of all ranks; their gradients are those of each rank's own loss, see above."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, count: int) -> Tensor:  # noqa: ANN401 - autograd's
        ctx.shape, ctx.count = rows.shape, count
        height = _height(count)
        padded = rows.new_zeros((height, *rows.shape[1:]))
        padded[: len(rows)] = rows
        bits = padded.view(torch.uint8) if padded.dtype is torch.bool else padded
        everything = bits.new_empty((world_size() * height, *rows.shape[1:]))
        dist.all_gather(list(everything.split(height)), bits)
        return everything[:count].view(rows.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        start = rank() * _height(ctx.count)
        own = gradient[start : start + ctx.shape[0]] * world_size()
        return (own if len(own) else gradient.new_zeros(ctx.shape)), None


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Make every gradient the mean of those of all ranks, in one exchange for each kind."""
    if world_size() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    for dtype in {gradient.dtype for gradient in gradients}:
        some = [gradient for gradient in gradients if gradient.dtype is dtype]
        flat = torch.cat([gradient.reshape(-1) for gradient in some])
        dist.all_reduce(flat)
        flat /= world_size()
        parts = flat.split([gradient.numel() for gradient in some])
        for gradient, part in zip(some, parts, strict=True):
            gradient.copy_(part.view_as(gradient))


def check_agreement(value: Tensor, what: str) -> None:
    """Refuse to go on with ranks that have drifted apart.

    Args:
        value: a number on the device, finite.
        what: its name.

    Raises:
        RuntimeError: it is not the same on all ranks.
    """
    if world_size() == 1:
        return
    values = gather_rows(value.detach().float().reshape(1), world_size())
    if (values - values[0]).abs().max() > _DISAGREEMENT * values.abs().max():
        raise RuntimeError(
            f"{what} differs between the ranks: {values.tolist()}. A method must draw the same "
            "random numbers on all of them, and compute its loss from whole batches."
        )
