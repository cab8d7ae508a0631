"""Finds what imports made and a forked worker must not share. Then workers are executed, and import for themselves."""

from __future__ import annotations

import gc
import os
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress


def unshareable(own: Iterable[int | None]) -> list[str]:
    """What no two processes can use by turns, in words. `own`: descriptors of this process that no import made."""
    return [*_pools(), *_connections(own)]


def _pools() -> list[str]:
    """Process pools that have no thread yet. Each worker would take tasks of the others out of the same pipes."""
    module = sys.modules.get("concurrent.futures.process")
    kind = getattr(module, "ProcessPoolExecutor", None)
    if not isinstance(kind, type):
        return []
    count = sum(issubclass(type(found), kind) for found in gc.get_objects())
    return [f"{count} ProcessPoolExecutor"] if count else []


def _connections(own: Iterable[int | None]) -> list[str]:
    """Connections to servers. Each worker would read answers to the others."""
    known = {0, 1, 2, *own}
    numbers = [int(name) for name in os.listdir("/proc/self/fd") if int(name) not in known]
    peers = [peer for number in numbers if (peer := _peer(number)) is not None]
    return [f"{len(peers)} connections"] if peers else []


def _peer(descriptor: int) -> object | None:
    """The address that a stream socket is connected to; None for a descriptor that is no connected stream socket."""
    with suppress(OSError):
        if not os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:"):
            return None
        with socket.socket(fileno=os.dup(descriptor)) as found:
            return (found.getpeername(),) if found.type == socket.SOCK_STREAM else None
    return None
