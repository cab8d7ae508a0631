"""Where a program listens: `HOST:PORT` or `unix:PATH`."""

from __future__ import annotations

from typing import NamedTuple, Self

from shardq.errors import ConfigurationError, shown

_LOOPBACK = "127.0.0.1"
_HIGHEST_PORT = 65_535
#: Bytes of the longest path that a socket can have.
_LONGEST_PATH = 107


class Address(NamedTuple):
    """A place to listen at."""

    host: str
    port: int
    """0: any that is free."""
    path: str
    """Of a unix socket. Empty: it is one of TCP."""

    @classmethod
    def parsed(cls, text: str) -> Self:
        """From `HOST:PORT`, `[HOST]:PORT` for IPv6, `:PORT` for this machine alone, or `unix:PATH`. Raises
        `ConfigurationError`.
        """
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            if not path or "\0" in path or len(path.encode(errors="surrogateescape")) > _LONGEST_PATH:
                raise ConfigurationError(f"{shown(text)} is no address: behind unix: give a path of at most 107 bytes")
            return cls("", 0, path)
        host, colon, port = text.rpartition(":")
        host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        known = port.isdecimal() and port.isascii() and len(port) <= 5 and int(port) <= _HIGHEST_PORT
        if not colon or not known or "[" in host or (":" in host and f"[{host}]:" not in text):
            raise ConfigurationError(
                f"{shown(text)} is no address: write it as 127.0.0.1:9100, [::1]:9100 or unix:/run/app/metrics.sock"
            )
        return cls(host or _LOOPBACK, int(port), "")

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
