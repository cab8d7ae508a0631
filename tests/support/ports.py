"""TCP ports of the loopback for servers that tests start, and may kill and start again."""

from __future__ import annotations

import random
import socket

#: Below those that the kernel gives to connections (from 32,768), so that no client of another process gets one of them
#: while its server is down. That of a cluster's bus is 10,000 above.
_FIRST, _LAST, _BUS = 10_240, 22_000, 10_000

_held: list[socket.socket] = []


def free_ports(count: int) -> list[int]:
    """Ports that no other process of these tests gets until this one ends; with that of the bus, each is free now."""
    ports = list[int]()
    while len(ports) < count:
        port = random.SystemRandom().randrange(_FIRST, _LAST)
        if _is_free(port) and _is_free(port + _BUS) and _hold(port):
            ports.append(port)
    return ports


def _hold(port: int) -> bool:
    """Take a name for the port, which the kernel gives to one process and takes back when that one ends."""
    holding = socket.socket(socket.AF_UNIX)
    try:
        holding.bind(f"\0shardq-test-port-{port}")
    except OSError:
        holding.close()
        return False
    _held.append(holding)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as trying:
        try:
            trying.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
