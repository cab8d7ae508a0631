"""What a service manager is told, as systemd is by units of `Type=notify`: datagrams to a socket that it names."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import Self

#: Environment variable with the path of the socket. A path that begins with @ is of the abstract name space.
_VARIABLE = "NOTIFY_SOCKET"


class Service:
    """A service manager that may be there. `path`: of its socket; empty: there is none."""

    def __init__(self, path: str = "") -> None:
        self._path = f"\0{path[1:]}" if path.startswith("@") else path

    @classmethod
    def of_environment(cls) -> Self:
        """The one that started this process."""
        return cls(os.environ.get(_VARIABLE, ""))

    def serving(self) -> None:
        self._tell("READY=1")

    def reloading(self) -> None:
        """The time lets it tell this reload from an earlier one."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._tell("STOPPING=1")

    def _tell(self, text: str) -> None:
        """A manager that is gone, or takes nothing, is not waited for."""
        if not self._path:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(text.encode(), self._path)
