"""Single messages on a server that wait for their time, S40 to S44 of the contract, and single times, S48."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from shardq.drivers.redis.servers.server import Server, answers
from shardq.drivers.redis.verbs.hands import decoded
from shardq.drivers.redis.verbs.records import messages_of
from shardq.model import Deferred, Scheduled, id_of, key_of, numbers_in
from shardq.pages import PAGE_ITEMS, Page
from shardq.scheduling.schedule import next_us

#: How many messages a script takes out at most.
_CANCELLED_AT_ONCE = 64


class _Key(NamedTuple):
    """What an id says."""

    due_us: int
    number: int
    """Of the entry, in its partition."""
    partition: int
    place: int
    """Of the message, in the entry."""

    @property
    def entry(self) -> str:
        """As the partition calls it."""
        return f"{self.number:016d}"


class Deferrals:
    """`protocols.Deferrals` of one storage."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def page(self, after: str | None = None, limit: int = PAGE_ITEMS) -> Page[Deferred]:
        limit, behind, found = max(1, limit), _key_in(after) if after else None, list[tuple[_Key, Deferred]]()
        every = (await self._server.layout()).everywhere
        calls = {place: (_asked(place, behind, limit + 1), ()) for place in every}
        replies = answers((await self._server.run_each("deferred", calls)).values())
        for place, reply in zip(every, replies, strict=True):
            found += _messages(place, reply)
        found = sorted(its for its in found if behind is None or its[0] > behind)
        page = [its for _, its in found[:limit]]
        return Page(page, page[-1].id if len(found) > limit else None)

    async def find(self, its_id: str) -> Deferred | None:
        key = _key_in(its_id)
        if not await self._has(key):
            return None
        reply = await self._server.run("deferred", key.partition, {"number": key.entry})
        return dict(_messages(key.partition, reply)).get(key)

    async def cancel(self, *ids: str) -> int:
        keys, cancelled = sorted({_key_in(its_id) for its_id in ids}, key=lambda key: key.partition), 0
        for place in (await self._server.layout()).everywhere:
            its = [key for key in keys if key.partition == place]
            for start in range(0, len(its), _CANCELLED_AT_ONCE):
                entries = _entries(its[start : start + _CANCELLED_AT_ONCE])
                cancelled += await self._server.run("call_off", place, {"entries": entries}, once=True)
        return cancelled

    async def run(self, its_id: str) -> bool | None:
        key = _key_in(its_id)
        if not await self._has(key):
            return None
        arguments = {"number": key.entry, "due_us": key.due_us, "place": key.place}
        came = await self._server.run("hasten", key.partition, arguments, once=True)
        return False if came == -1 else True if came else None

    async def skip(self, scheduled: Scheduled) -> bool | None:
        pipe, message, schedule, due_us = scheduled
        now_us = due_us
        while True:
            arguments = {"pipe": pipe, "schedule": schedule, "due_us": due_us}
            arguments["next_us"] = next_us(schedule, due_us, now_us) or False
            said: int = await self._server.run_on(key_of(pipe), "skip", arguments, message, once=True)
            if said <= 1:
                return True if said else None
            now_us = said

    async def _has(self, key: _Key) -> bool:
        return key.partition < (await self._server.layout()).partitions


def _key_in(its_id: str) -> _Key:
    """Raises `ConfigurationError` for what is no id."""
    return _Key(*numbers_in(its_id, len(_Key._fields)))


def _asked(partition: int, behind: _Key | None, limit: int) -> dict[str, Any]:
    """What is asked of a partition, so that all is there that comes behind a message, and the rest of its entry."""
    if behind is None:
        return {"limit": limit}
    before = behind.place + 1 if partition == behind.partition else 0
    number = behind.number - (partition >= behind.partition)
    return {"limit": limit + before, "after": [behind.due_us, f"{number:016d}"]}


def _messages(partition: int, reply: Sequence[bytes]) -> Iterator[tuple[_Key, Deferred]]:
    for said, body in zip(reply[::2], reply[1::2], strict=True):
        due_us, number, pipe, places = decoded(said)
        messages = messages_of(body)
        for place, message in zip(places or range(len(messages)), messages, strict=True):
            key = _Key(due_us, int(number), partition, place)
            yield key, Deferred(id_of(*key), pipe, due_us, message)


def _entries(keys: Sequence[_Key]) -> list[Any]:
    """The keys as a script takes them: number of the entry, due time, places in it."""
    entries = dict[tuple[str, int], list[int]]()
    for key in keys:
        entries.setdefault((key.entry, key.due_us), []).append(key.place)
    return [[number, due_us, places] for (number, due_us), places in entries.items()]
