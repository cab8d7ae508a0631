"""Sockets that a supervisor opens for a program beside its workers. Who connects while that program starts again waits
for a moment, and is not refused.
"""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from typing import Any, Self

from shardq.errors import ConfigurationError
from shardq.system.addresses import Address

#: How many connections wait for the program at most.
_BACKLOG = 64


class Listening:
    """A socket that listens. Made by `at`."""

    def __init__(self, address: Address, opened: socket.socket) -> None:
        self.address = address
        """With the port that it has."""
        self._socket = opened
        self._inode = _inode(address.path)

    @classmethod
    def at(cls, address: Address) -> Self:
        """Open it. A unix socket is for this user alone, and takes the place of one at which no process listens. Raises
        `ConfigurationError` where that cannot be.
        """
        try:
            if address.path:
                return cls(address, _unix(address.path))
            family, _, _, _, place = socket.getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            opened = _opened(family, place)
            return cls(address._replace(port=opened.getsockname()[1]), opened)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigurationError(f"cannot listen at {address}: {reason}: choose another address") from error

    @property
    def descriptor(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        """Listen no more, and remove a unix socket, unless another one is in its place."""
        if self.address.path and self._inode == _inode(self.address.path):
            with suppress(OSError):
                os.unlink(self.address.path)
        self._socket.close()


def _unix(path: str) -> socket.socket:
    _remove_left(path)
    return _opened(socket.AF_UNIX, path)


def _opened(family: int, place: Any) -> socket.socket:
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family != socket.AF_UNIX:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(place)
        if family == socket.AF_UNIX:
            os.chmod(str(place), 0o600)  # before it listens: until then no client can connect
        found.listen(_BACKLOG)
    except BaseException:
        found.close()
        raise
    return found


def _remove_left(path: str) -> None:
    """Remove a socket that a dead process left. What is no socket, or answers, stays, and the path cannot be had."""
    if _inode(path) is None:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.setblocking(False)  # one that hangs may have as many callers as wait for it
        try:
            caller.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            pass


def _inode(path: str) -> tuple[int, int] | None:
    """Which socket is at a path. None: there is none."""
    with suppress(OSError):
        found = os.lstat(path)
        if stat.S_ISSOCK(found.st_mode):
            return found.st_dev, found.st_ino
    return None
