"""What the package `sharded-queue` keeps on a server: a list of texts for each tube, at its prefix and the tube's name,
and a key for each lock. It has no index, so its keys have to be looked for.

A note of the move that takes its lists over stands beside them, under a name that neither package uses for anything
else.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from shardq.drivers.redis.connections.address import of_url
from shardq.drivers.redis.servers.server import Server
from shardq.errors import MoveRefused
from shardq.model import Stand, Standing

#: How many keys the server looks at in one step.
_AT_ONCE = b"1000"
#: Drops what was handed over of a list, and notes that.
_DROP = b"redis.call('LTRIM', KEYS[1], ARGV[1], -1) redis.call('SADD', KEYS[2], ARGV[2]) return 1"
#: Replaces a note that is still as it was read.
_REPLACE = b"if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) end return 1"
_SPECIAL = re.compile(r"([\\*?\[\]])")


class Note(NamedTuple):
    """What is noted of a move."""

    move: int
    to: str
    counts: dict[str, int] | None = None
    """How many texts each list had once its workers had ended, by pipe. None: they are not counted yet."""

    def encoded(self) -> bytes:
        return json.dumps(self._asdict()).encode()


class AncestorServer:
    """The lists of one prefix on one server."""

    def __init__(self, url: str, prefix: str, lock_prefix: str) -> None:
        self._server = Server(of_url(url).address, prefix, 1)
        self._prefix, self._lock_prefix = prefix, lock_prefix
        note = f"shardq:take-over:{prefix}"
        # Renaming the first to the second hands the messages over.
        self._leaving, self._left, self._gone = (f"{note}{name}".encode() for name in ("leaving", "left", "gone"))

    async def stand(self) -> Stand:
        for key, standing in ((self._left, Standing.LEFT), (self._leaving, Standing.LEAVING)):
            note = await self._note(key)
            if note:
                return Stand(standing, note.move, note.to)
        return Stand(Standing.OPEN)

    async def leave(self, move: int, to: str) -> None:
        if (await self.stand()).standing is Standing.OPEN:
            await self._server.ask(b"SET", self._leaving, Note(move, to).encoded(), b"NX")
        stand = await self.stand()
        if stand.leaving_by != move:
            raise MoveRefused(
                f"another process moves it to {stand.to} just now: wait for that one, or end it and give the command "
                "again"
            )

    async def count(self) -> None:
        """Note how many texts move of each list, unless that is noted. Once no worker has a lock: a worker drops what
        it handled, and appends what that leads to, before it frees its lock.
        """
        found = await self._server.ask(b"GET", self._leaving)
        note = _note_of(found)
        if note is None or note.counts is not None:
            return
        counts = {pipe: await self._length(pipe) async for pipe in self._pipes()}
        counted = note._replace(counts=dict(sorted(counts.items())))
        await self._server.ask(b"EVAL", _REPLACE, b"1", self._leaving, found, counted.encoded())

    async def stay(self, move: int) -> bool:
        stand = await self.stand()
        if stand.standing is Standing.LEAVING and stand.leaving_by == move:
            await self._server.ask(b"DEL", self._leaving)
        return stand.standing is not Standing.LEFT

    async def hand_over(self, move: int) -> None:
        note = await self._note(self._leaving)
        if note and note.move == move:
            await self._server.ask(b"RENAME", self._leaving, self._left)
        stand = await self.stand()
        if stand.standing is not Standing.LEFT or stand.leaving_by != move:
            raise MoveRefused(
                "what sharded-queue has does not leave by this move any more: it was cancelled; give the command again"
            )

    async def take_back(self, move: int) -> None:
        note = await self._note(self._left)
        if note and note.move == move:
            await self._server.ask(b"DEL", self._left, self._gone)

    async def forget(self, move: int) -> None:
        """Drop what was handed over, and the note of it. What came since then stays."""
        note = await self._note(self._left)
        if note is None or note.move != move:
            return
        gone = set(await self._server.ask(b"SMEMBERS", self._gone))
        for pipe, count in (note.counts or {}).items():
            if pipe.encode() not in gone:
                words = self._key(pipe), self._gone, b"%d" % count, pipe.encode()
                await self._server.ask(b"EVAL", _DROP, b"2", *words)
        await self._server.ask(b"DEL", self._left, self._gone)

    async def counts(self) -> dict[str, int]:
        """How many texts of each list move."""
        note = await self._note(self._left) or await self._note(self._leaving)
        return note.counts or {} if note else {}

    async def texts(self, pipe: str, start: int, count: int) -> list[bytes]:
        """Texts of a list, so many at most."""
        end = b"%d" % (start + count - 1)
        found: list[bytes] = await self._server.ask(b"LRANGE", self._key(pipe), b"%d" % start, end)
        return found

    async def locked(self) -> list[str]:
        """Tubes that a worker has, or had when it ended."""
        keys = [key async for key in self._keys(self._lock_prefix, b"string")]
        return [name for key in keys if "/" in (name := key.removeprefix(self._lock_prefix))]

    async def is_empty(self) -> bool:
        """Whether there is nothing to take over."""
        async for _ in self._pipes():
            return False
        return True

    async def close(self) -> None:
        self._server.close()

    async def _pipes(self) -> AsyncIterator[str]:
        seen = set[str]()
        async for key in self._keys(self._prefix, b"list"):
            pipe = key.removeprefix(self._prefix)
            if pipe.count("/") >= 3 and pipe not in seen:
                seen.add(pipe)
                yield pipe

    async def _keys(self, prefix: str, kind: bytes) -> AsyncIterator[str]:
        pattern, cursor = _SPECIAL.sub(r"\\\1", prefix).encode() + b"*", b"0"
        while True:
            words = (b"SCAN", cursor, b"MATCH", pattern, b"COUNT", _AT_ONCE, b"TYPE", kind)
            cursor, keys = await self._server.ask(*words)
            for key in keys:
                yield key.decode()
            if cursor == b"0":
                return

    async def _length(self, pipe: str) -> int:
        return int(await self._server.ask(b"LLEN", self._key(pipe)))

    async def _note(self, key: bytes) -> Note | None:
        return _note_of(await self._server.ask(b"GET", key))

    def _key(self, pipe: str) -> bytes:
        return f"{self._prefix}{pipe}".encode()


def _note_of(said: Any) -> Note | None:
    return Note(**json.loads(said)) if said else None
