"""A replica that lags and takes the place of its server, without another server: the keys are put back as they were."""

from __future__ import annotations

from collections.abc import Iterable

from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.connections.wire import PlainWire, packed
from shardq.drivers.redis.storage import RedisStorage
from tests.support.redis_server import running_server


class Replica:
    """A copy of all keys, which can take their place."""

    def __init__(self, storage: RedisStorage) -> None:
        self._storage = storage
        self._wire = PlainWire(Address(path=str(running_server().socket)))
        self._had = dict[bytes, bytes | None]()

    async def lags(self, partitions: Iterable[int] | None = None) -> None:
        """From now on it hears of nothing; `partitions`: of nothing in these, which are all that is on its server."""
        layout = await self._storage.server.layout()
        places = layout.everywhere if partitions is None else partitions
        for key in (key for place in places for key in layout.keys_of(place)):
            self._had[key] = self._wire.ask(packed(b"DUMP", key))

    def takes_over(self) -> None:
        """And connections to the server that was lost end."""
        for key, had in self._had.items():
            if had is None:
                self._wire.ask(packed(b"DEL", key))
            else:
                self._wire.ask(packed(b"RESTORE", key, b"0", had, b"REPLACE"))
        self._wire.ask(packed(b"CLIENT", b"KILL", b"TYPE", b"normal"))
        self._wire.ask(packed(b"CLIENT", b"KILL", b"TYPE", b"pubsub"))

    def close(self) -> None:
        self._wire.close()
