"""Who holds a claim: a process, named so that no two are taken for one another.

Hosts may have the same name, and containers of one host have processes of the same number. So a name ends in a mark: a
supervisor draws it for itself and its workers, a process without a supervisor for itself.
"""

from __future__ import annotations

import secrets
import socket
from typing import NamedTuple


class Owner(NamedTuple):
    """A process that may hold claims."""

    host: str
    pid: int
    mark: str

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}:{self.mark}"

    @classmethod
    def named(cls, name: str) -> Owner:
        host, pid, mark = name.rsplit(":", 2)
        return cls(host, int(pid), mark)


class Family(NamedTuple):
    """A supervisor and its workers, or a process without a supervisor."""

    host: str
    mark: str

    def __str__(self) -> str:
        return f"{self.host}:{self.mark}"

    @classmethod
    def new(cls) -> Family:
        return cls(socket.gethostname(), secrets.token_hex(6))

    @classmethod
    def named(cls, name: str) -> Family:
        host, _, mark = name.rpartition(":")
        return cls(host, mark)

    def owner(self, pid: int) -> str:
        """The name of a process of the family."""
        return str(Owner(self.host, pid, self.mark))
