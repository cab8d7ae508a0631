"""Routes that a handler declares by the key of a request, so that no `Route` is made for each request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from shardq.errors import RequestError, shown
from shardq.handling.pipes import REMEMBERED, Pipes
from shardq.model import Route, handler_name, thread_of
from shardq.text.printable import type_name

#: Keys of these types are equal only where their threads are. A key of a subclass may have an equality of its own.
_EXACT = frozenset((str, bytes, int, bool))
#: All keys that `Route.by` takes.
_KEYS = (str, bytes, bytearray, memoryview, int)
#: Longest text, and largest integer, that is remembered.
_LONGEST_KEY, _LARGEST_KEY = 64, 1 << 64

#: The thread of a request, or its thread and its priority.
Place = Any


def is_declared(handler: type[Any]) -> bool:
    """Whether the requests of a handler class go by its `route_by`, and not by a written `route`. Of its bases, the
    first in the order of inheritance that has either of them decides.
    """
    if handler.route_by is None:
        return False
    decides = next(base for base in handler.__mro__ if "route" in vars(base) or says_by(base))
    return says_by(decides)


def says_by(base: type[Any]) -> bool:
    """Whether this class itself has a `route_by`."""
    return vars(base).get("route_by") is not None


class RouteBy:
    """What a handler class declares of its routes: `route_by`, `threads`, `priority_by`."""

    def __init__(self, handler: type[Any]) -> None:
        name = handler_name(handler)
        self._key = _Reader(f"{name}.route_by", handler.route_by)
        self._threads = _Threads(handler.threads)
        self._priority = None if handler.priority_by is None else _Reader(f"{name}.priority_by", handler.priority_by)
        self._priorities = frozenset(handler.priorities or (0,))
        self.pipes = Pipes(name, int if self._priority is None else tuple)
        """Of its places."""

    def routes(self, requests: Sequence[Any]) -> list[Route]:
        """The same as `Route` objects, for code that calls `Handler.route` itself."""
        threads, priorities = self._threads_of(requests), self._priorities_of(requests)
        return list(map(Route, threads, priorities or [0] * len(threads)))

    def places(self, requests: Sequence[Any]) -> Sequence[Place]:
        """Where each request goes, for `pipes`. Raises `RequestError` for a request whose key or priority cannot be,
        and what a function of the handler raises.
        """
        threads, priorities = self._threads_of(requests), self._priorities_of(requests)
        return threads if priorities is None else list(zip(threads, priorities, strict=True))

    def _threads_of(self, requests: Sequence[Any]) -> list[int]:
        keys = self._key.read(requests)
        if _EXACT.issuperset(map(type, keys)):
            return list(map(self._threads.__getitem__, keys))
        for position, key in enumerate(keys):
            if not isinstance(key, _KEYS):
                raise RequestError(self._key.wrong_key(position, requests[position], key))
        return list(map(self._threads.of, keys))

    def _priorities_of(self, requests: Sequence[Any]) -> list[int] | None:
        if self._priority is None:
            return None
        priorities, listed = self._priority.read(requests), self._priorities
        if not {int}.issuperset(map(type, priorities)) or not listed.issuperset(priorities):
            position = next(n for n, p in enumerate(priorities) if type(p) is not int or p not in listed)
            raise RequestError(
                f"request {position}, {shown(requests[position])}, has the priority {shown(priorities[position])} by "
                f"{self._priority.attribute}, which is not among the handler's priorities {shown(sorted(listed))}"
            )
        return priorities


class _Threads(dict[Any, int]):
    """The thread of each key, remembered: a hash takes many times as long as finding it here."""

    def __init__(self, threads: int | None) -> None:
        super().__init__()
        self._threads = threads

    def of(self, key: Any) -> int:
        """Found out anew."""
        return thread_of(key, self._threads)

    def __missing__(self, key: Any) -> int:
        thread = thread_of(key, self._threads)
        if (abs(key) < _LARGEST_KEY) if isinstance(key, int) else len(key) <= _LONGEST_KEY:
            if len(self) >= REMEMBERED:
                self.clear()
            self[key] = thread
        return thread


class _Reader:
    """Reads a key or a priority off requests."""

    def __init__(self, attribute: str, declared: str | Callable[[Any], Any]) -> None:
        """`attribute` is that of the handler, `module/Handler.route_by`, and `declared` its value."""
        self.attribute = attribute
        self._field = declared if isinstance(declared, str) else ""
        self._get = attrgetter(declared) if isinstance(declared, str) else declared

    def read(self, requests: Sequence[Any]) -> list[Any]:
        try:
            return list(map(self._get, requests))
        except AttributeError as error:
            if not self._field:
                raise
            position, request = next((n, r) for n, r in enumerate(requests) if not hasattr(r, self._field))
            raise RequestError(
                f"request {position}, {shown(request)}, has no {self._field}, which {self.attribute} names: register "
                f"requests that have it, or write a function of one request"
            ) from error

    def wrong_key(self, position: int, request: Any, key: Any) -> str:
        """The message of the error for a key that has no thread."""
        field = self._field or "user_id"
        if key is None:
            advice = f'give it one, as in `lambda request: request.{field} or "none"`'
        else:
            advice = f"make a text of it, as in `lambda request: str(request.{field})`"
        return (
            f"request {position}, {shown(request)}, has the key {shown(key)} by {self.attribute}, of type "
            f"{type_name(type(key))}, but a key is text, bytes or an integer: {advice}"
        )
