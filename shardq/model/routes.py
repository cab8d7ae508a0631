"""Where requests go: a thread and a priority for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from shardq.errors import HandlerError, shown
from shardq.lazy import Lazy
from shardq.model.names import handler_name

if TYPE_CHECKING:
    import hashlib
else:
    hashlib = Lazy("hashlib")


class Route(NamedTuple):
    """Where a handler's `route()` sends a request."""

    thread: int = 0
    """Requests of one thread are handled one after another. A non-negative integer."""
    priority: int = 0
    """Which of the thread's tubes; `Handler.priorities` says which ones exist, first served first."""

    @classmethod
    def by(cls, key: str | bytes | int, priority: int = 0, *, threads: int | None = None) -> Route:
        """The route of all requests with this key: the same thread in every process and with every version of Python.

        An integer from 0 to 2**63 - 1 is a thread by itself. Of any other key, and of each where `threads` is given, it
        is the first 8 bytes of the key's BLAKE2b (`hashlib.blake2b(key, digest_size=8)`), big-endian, without the
        highest bit; text counts as its UTF-8, an integer as its shortest big-endian bytes with a sign. `threads`: fold
        onto so many threads, as the remainder. Keys that come to the same thread share it, which costs them nothing
        but being handled side by side. Raises `HandlerError` for other keys. About a microsecond.

        >>> from shardq import Route
        >>> Route.by(7), Route.by("Ann", threads=16)
        (Route(thread=7, priority=0), Route(thread=14, priority=0))
        """
        if threads is not None and (type(threads) is not int or threads < 1):
            raise HandlerError(f"Route.by(threads={shown(threads)}) cannot be: give a number of threads from 1 up")
        return cls(thread_of(key, threads), priority)


def thread_of(key: Any, threads: int | None) -> int:
    """The thread of a key, as `Route.by` says."""
    if threads is None and isinstance(key, int) and 0 <= key < 1 << 63:
        return int(key)
    number = int.from_bytes(hashlib.blake2b(_key_bytes(key), digest_size=8).digest(), "big") & (1 << 63) - 1
    return number if threads is None else number % threads


def _key_bytes(key: Any) -> bytes:
    if isinstance(key, str):
        return key.encode("utf-8", "surrogatepass")
    if isinstance(key, bytes | bytearray | memoryview):
        return bytes(key)
    if isinstance(key, int):
        return key.to_bytes(key.bit_length() // 8 + 1, "big", signed=True)
    raise HandlerError(
        f"Route.by({shown(key)}) cannot be: give text, bytes or an integer, as in Route.by(f'{{account}}/{{day}}')"
    )


class Tube(NamedTuple):
    """One FIFO sub-queue: a handler class, a thread and a priority."""

    handler: type[Any]
    route: Route

    @property
    def key(self) -> str:
        """Name of the tube's thread, `module/Handler/thread`: what a lock is taken on."""
        return f"{handler_name(self.handler)}/{self.route.thread}"

    @property
    def pipe(self) -> str:
        """Name of the tube, `module/Handler/thread/priority`."""
        return f"{self.key}/{self.route.priority}"
