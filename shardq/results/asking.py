"""What callers, maps and holders of tickets need of the queue that they send their requests through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from shardq.handler import Handler
from shardq.handling.info import HandlerInfo
from shardq.handling.prepared import Prepared
from shardq.model import Part
from shardq.protocols import Storage
from shardq.results.serving import Serving


class Asking:
    """A queue, as far as its methods for results need it: `Queue` has the rest."""

    storage: Storage
    serving: Serving
    handlers: dict[str, type[Handler[Any]]]

    def callable(self, handler: type[Handler[Any]]) -> HandlerInfo:
        """What is known of a handler whose results are to be waited for here."""
        raise NotImplementedError

    async def sealed(
        self, handler: type[Handler[Any]], requests: Sequence[Any], inbox: int, first: int, *, abandon: bool
    ) -> Prepared:
        """What is stored for requests whose results go to this inbox, under numbers from `first` on."""
        raise NotImplementedError

    async def with_heads(
        self,
        handler: type[Handler[Any]],
        requests: Sequence[Any],
        heads: Callable[[Sequence[bytes]], list[bytes]],
    ) -> Prepared:
        """What is stored for requests whose messages get heads."""
        raise NotImplementedError

    async def stored(self, call: Prepared) -> None:
        """Store what was prepared, and wait for room as `register` does."""
        raise NotImplementedError

    async def wait_for_room(self, step: Sequence[Part], name: str, timeout_s: float | None) -> None:
        """Store a step as soon as there is room."""
        raise NotImplementedError

    async def before_waiting(self, timeout_s: float | None) -> None:
        """Called before a caller waits for results, for at most so many seconds. None: without a limit of its own."""
        raise NotImplementedError
