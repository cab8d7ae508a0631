"""Connections of the page's clients. The page waits for none of them without an end: at a port of this machine each of
its users can connect, with the token or without.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

#: Seconds in which a client has to send a whole request, and to take some of an answer; it gets at most twice as many.
PATIENCE_S = 10.0
#: Most connections at once. A process has descriptors for more.
MOST_CONNECTIONS = 128


class Connection(H11Protocol):
    """Closes where its client sends no whole request, or takes nothing of the answer."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._next_look: asyncio.TimerHandle | None = None
        self._waited: tuple[object, int] | None = None, 0
        """For what the last look found it waiting: the request before the next one, or the one whose answer is to be
        taken, and how many bytes of answers are left. None: for nothing.
        """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        else:
            self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._next_look:
            self._next_look.cancel()
        super().connection_lost(exc)

    def _look_later(self) -> None:
        self._next_look = self.loop.call_later(PATIENCE_S, self._look)

    def _look(self) -> None:
        before, cycle, left = self._waited, self.cycle, self.transport.get_write_buffer_size()
        waits = cycle is None or cycle.response_complete or cycle.more_body or self.flow.write_paused
        self._waited = (cycle, left) if waits else None
        if self._waited and before and before[0] is cycle and before[1] <= left:
            self.transport.abort()
        else:
            self._look_later()
