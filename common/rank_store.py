"""Where ranks find each other, also after a restart.

torchrun keeps one store for all its attempts, in which a restarted rank would find the addresses of
ranks that are gone. So the first rank opens a store of its own for each attempt and leaves its
address in torchrun's. An address of an attempt that is over refuses connections, and the others ask
again.
"""

from __future__ import annotations

import os
import socket
import time
from datetime import timedelta

from torch.distributed import DistError, DistNetworkError, Store, TCPStore

PATIENCE = timedelta(minutes=10)  # for ranks that start late
_TRY, _POLL = timedelta(seconds=5), 0.2  # of one address; seconds
_KEY = "lmpt/store"


def attempt_store() -> Store | None:
    """A store of the present attempt's ranks; None where the launcher's own will do.

    Raises:
        TimeoutError: the first rank did not open its store in time.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    agent = TCPStore(address, port, is_master=False, timeout=PATIENCE)
    if os.environ["RANK"] == "0":
        return _open_store(agent)
    return _find_store(agent)


def _open_store(agent: Store) -> Store:
    on_one_machine = os.environ["LOCAL_WORLD_SIZE"] == os.environ["WORLD_SIZE"]
    host = "localhost" if on_one_machine else socket.getfqdn()
    # Not waiting: the others come when they have read the address.
    store = TCPStore(host, 0, is_master=True, timeout=PATIENCE, wait_for_workers=False)
    agent.set(_KEY, f"{host}:{store.port}")
    return store


def _find_store(agent: Store) -> Store:
    end = time.monotonic() + PATIENCE.total_seconds()
    while time.monotonic() < end:
        host, _, port = agent.get(_KEY).decode().rpartition(":")
        try:
            store = TCPStore(host, int(port), is_master=False, timeout=_TRY, wait_for_workers=False)
        except (DistNetworkError, DistError, TimeoutError):
            time.sleep(_POLL)
            continue
        store.set_timeout(PATIENCE)
        return store
    raise TimeoutError(f"the first rank opened no store within {PATIENCE}; see what it says")
