"""Work on several ranks, each a process, as torchrun would start them but without its seconds."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import pickle
import socket
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from common.ranks import working_together


def on_ranks(count: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `work(*arguments)` returns on each of `count` ranks that work together.

    Args:
        count: ranks.
        work: a function of a module.
        *arguments: which pickle.

    Raises:
        RuntimeError: it failed on a rank; the message is the first traceback.
    """
    context = multiprocessing.get_context("forkserver")  # which imports once for all tests
    context.set_forkserver_preload([__name__, "train"])
    pipes = [context.Pipe(duplex=False) for _ in range(count)]
    port = _free_port()
    ranks = []
    for rank, (_, result) in enumerate(pipes):
        more = (result, rank, count, port, work, arguments)
        ranks.append(context.Process(target=_on_rank, args=more, daemon=True))
        ranks[-1].start()
        result.close()
    results = [_received(pipe) for pipe, _ in pipes]
    for process in ranks:
        process.join()
    if errors := [error for error, _ in results if error]:
        raise RuntimeError("\n".join(errors))
    return [value for _, value in results]


def _received(pipe: Connection) -> tuple[str, Any]:
    try:
        return pickle.loads(pipe.recv_bytes())
    except EOFError:
        return "a rank ended without a word", None


def _on_rank(
    result: Connection,
    rank: int,
    count: int,
    port: int,
    work: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo",
    }
    try:
        with working_together(use_cuda=False), contextlib.redirect_stdout(io.StringIO()):
            _send(result, "", work(*arguments))
    except BaseException:
        _send(result, traceback.format_exc(), None)


def _send(result: Connection, error: str, value: Any) -> None:
    # By its bytes: `send` would leave tensors in memory that goes with this process.
    result.send_bytes(pickle.dumps((error, value)))


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]
