"""Which names a program may be called by over HTTP.

A page of another site can have a browser ask a program on this machine, under a name of that site which suddenly leads
here (DNS rebinding). The browser says that name. So a program answers only to names that are its own, and to addresses
in figures, which no site can take for itself.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from ipaddress import ip_address

from shardq.system.addresses import Address


def own_names(address: Address) -> Collection[str]:
    """The names of this machine, and the one that the program was told to listen at."""
    return {"localhost", address.host.lower(), socket.gethostname().lower()}


def is_own(host: str, names: Collection[str]) -> bool:
    """Whether what a request says in `Host` is one of these names, or an address in figures."""
    name = host.strip().lower()
    if not name.endswith("]"):
        before, colon, port = name.rpartition(":")
        name = before if colon and port.isdecimal() else name
    name = name.removesuffix(".")
    if name in names:
        return True
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
