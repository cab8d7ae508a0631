"""Listings over all partitions, page by page: S9 and S30 of the contract."""

from __future__ import annotations

from typing import Any

from shardq.drivers.redis.servers.server import Server, answers
from shardq.drivers.redis.verbs.hands import decoded
from shardq.drivers.redis.verbs.records import messages_of
from shardq.model import Scheduled
from shardq.pages import Page


class Listing:
    """The listings of one storage."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def pipes(self, after: tuple[int, str | None] | None, limit: int) -> Page[str]:
        """Partition by partition. `after`: the partition, and the last thread that was listed of it."""
        limit, (partition, key) = max(1, limit), after or (0, None)
        found = list[str]()
        for place in range(partition, (await self._server.layout()).partitions):
            arguments = {"after": key if place == partition else None, "limit": limit - len(found)}
            threads = await self._server.run("pipes", place, arguments)
            found += [pipe.decode() for _, *its in threads for pipe in sorted(its)]
            if len(found) >= limit:
                return Page(found, (place, threads[-1][0].decode()))
        return Page(found)

    async def scheduled(self, after: tuple[int, str, int] | None, limit: int) -> Page[Scheduled]:
        """Of all partitions, the next due first. `after`: due time, number and partition of the last one."""
        limit = max(1, limit)
        every = (await self._server.layout()).everywhere
        calls = {place: ({"limit": limit, "after": _after_in(place, after)}, ()) for place in every}
        replies = answers((await self._server.run_each("scheduled", calls)).values())
        found = list[tuple[tuple[int, str, int], Scheduled]]()
        for place, reply in zip(every, replies, strict=True):
            for said, body in zip(reply[::2], reply[1::2], strict=True):
                due_us, number, pipe, schedule = decoded(said)
                found.append(((due_us, number, place), Scheduled(pipe, messages_of(body)[0], schedule, due_us)))
        found = sorted(found, key=lambda its: its[0])[:limit]
        return Page([its for _, its in found], found[-1][0] if len(found) == limit else None)


def _after_in(partition: int, after: tuple[int, str, int] | None) -> list[Any] | None:
    """What a partition begins behind, so that all that come after the last one are there."""
    if after is None:
        return None
    due_us, number, last = after
    return [due_us, f"{int(number) - (partition > last):016d}"]
