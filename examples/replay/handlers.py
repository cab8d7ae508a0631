"""The two handlers of the replay.

`Read` takes a piece of the stream, and emits its events together with the request for the next piece: all of that is
stored in one step, so whatever is killed when, each event is sent on once, and the stream goes on where it was.
"""

from __future__ import annotations

import sqlite3
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Self

from examples.replay.ledger import Event, decoded, opened, post
from shardq import Handler

#: How many events are read at once.
PIECE = 1000


class Position(NamedTuple):
    """A place in a stream."""

    path: str
    offset_bytes: int = 0


class Read(Handler[Position]):
    """Reads a stream of events, one JSON array a line."""

    batch_size = 1

    def perform(self, position: Position) -> None:
        with Path(position.path).open("rb") as stream:
            stream.seek(position.offset_bytes)
            lines = list(islice(stream, PIECE))
        if lines:
            self.emit_sync(Post, *map(decoded, lines))
            self.emit_sync(Read, position._replace(offset_bytes=position.offset_bytes + sum(map(len, lines))))


class Post(Handler[Event]):
    """Posts events. Those of one account are in one thread, so they are posted in their order. A batch may come twice,
    and the database knows its events.
    """

    route_by = "account"
    threads = 16

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    def create(cls) -> Self:
        return cls(opened())

    def perform(self, *events: Event) -> None:
        post(self._connection, events)

    def stop(self) -> None:
        self._connection.close()
