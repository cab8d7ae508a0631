"""Results that are kept for tickets on a server: S38 of the contract.

Each partition keeps those of its own requests: so a result comes in the script that acknowledges its request.
"""

from __future__ import annotations

from typing import Any

from shardq.drivers.redis.servers.layout import Layout
from shardq.drivers.redis.servers.server import Server, answers
from shardq.drivers.redis.verbs.rooms import Room
from shardq.model import EMPTY, Batch
from shardq.settings import StorageSettings


def terms_of_results(settings: StorageSettings, layout: Layout, partition: int) -> dict[str, Any]:
    """What scripts are told of how many results a partition keeps, and for how long."""
    room = Room(settings.capacity_bytes, layout.partitions)
    return {
        "most": settings.results,
        "most_bytes": room.grave_bytes,
        "age_us": round(settings.results_age_s * 1e6),
        "capacity": room.capacity_bytes,
        "partition": partition,
        "partitions": layout.partitions,
    }


class Results:
    """The results that one storage keeps."""

    def __init__(self, server: Server, settings: StorageSettings) -> None:
        self._server = server
        self._settings = settings

    async def find(self, name: bytes) -> Batch:
        """The latest result of this name. Empty: there is none."""
        for reply in await self._asked(name):
            if len(reply) > 2:
                return Batch.of([reply[3]], int(reply[2]))
        return EMPTY

    async def count(self) -> int:
        """How many there are."""
        return sum(reply[1] for reply in await self._asked())

    async def expire(self) -> None:
        """Drop those that are too old, or too many."""
        while any(reply[0] for reply in await self._asked()):
            continue

    async def _asked(self, *names: bytes) -> list[Any]:
        layout = await self._server.layout()
        calls = {
            place: ({"terms": terms_of_results(self._settings, layout, place)}, names) for place in layout.everywhere
        }
        return answers((await self._server.run_each("kept", calls)).values())
